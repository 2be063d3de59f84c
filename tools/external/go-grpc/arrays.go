package main

import (
	"fmt"
	"math"

	"server/contract"
)

// rankMax is the limit of NumPy.
const rankMax = 64

// itemBytes has the codes of all dtypes, with the size of an item.
var itemBytes = map[string]uint64{
	"b1": 1, "i1": 1, "u1": 1,
	"i2": 2, "u2": 2, "f2": 2,
	"i4": 4, "u4": 4, "f4": 4,
	"i8": 8, "u8": 8, "f8": 8, "c8": 8,
	"c16": 16,
}

// check returns the canonical dtype of an array if its dtype, shape and number of data bytes fit.
func check(array *contract.NDArray) (string, error) {
	name, item, err := dtype(array.GetDtype())
	if err != nil {
		return "", err
	}
	needed, err := byteLength(item, array.GetShape())
	if err != nil {
		return "", err
	}
	if got := uint64(len(array.GetBuffer())); got != needed {
		return "", fmt.Errorf("shape and dtype need %d bytes of data, got %d", needed, got)
	}
	return name, nil
}

func dtype(name string) (canonical string, item uint64, err error) {
	if len(name) > 1 {
		order, code := name[0], name[1:]
		item = itemBytes[code]
		switch {
		case item == 1 && (order == '|' || order == '<' || order == '>' || order == '='):
			return "|" + code, item, nil
		case item > 1 && (order == '<' || order == '='):
			return "<" + code, item, nil
		case item > 1 && order == '>':
			return name, item, nil
		}
	}
	return "", 0, fmt.Errorf("dtype %q is not supported: expected one like |b1, <i4, >u2, <f8 or <c16", name)
}

func byteLength(item uint64, shape []uint64) (uint64, error) {
	if len(shape) > rankMax {
		return 0, fmt.Errorf("array has %d dimensions, at most %d are supported", len(shape), rankMax)
	}
	bytes, isEmpty := item, false
	for _, dim := range shape {
		if dim == 0 {
			isEmpty = true
			continue
		}
		if bytes > math.MaxInt64/dim {
			return 0, fmt.Errorf("array size overflows 63 bits")
		}
		bytes *= dim
	}
	if isEmpty {
		return 0, nil
	}
	return bytes, nil
}
