import java.util.Set;

/** Checks of the contract: the closed list of dtypes, and the size that a shape needs. */
final class Arrays {
    /** Reason for which an array is refused, as the client sees it. */
    static final class Refused extends Exception {
        Refused(String reason) {
            super(reason);
        }
    }

    private static final int RANK_MAX = 64; // limit of NumPy
    private static final Set<String> ONE_BYTE = Set.of("b1", "i1", "u1");
    private static final Set<String> MORE_BYTES =
            Set.of("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16");

    private Arrays() {}

    /** Returns the canonical dtype of an array if its dtype, shape and number of data bytes fit. */
    static String check(Ndecho.NDArray array) throws Refused {
        String dtype = canonical(array.getDtype());
        long needed = byteLength(Integer.parseInt(dtype.substring(2)), array);
        if (needed != array.getBuffer().size()) {
            throw new Refused("shape and dtype need " + needed + " bytes of data, got " + array.getBuffer().size());
        }
        return dtype;
    }

    private static String canonical(String dtype) throws Refused {
        char order = dtype.isEmpty() ? '?' : dtype.charAt(0);
        String code = dtype.isEmpty() ? "" : dtype.substring(1);
        if ("|<>=".indexOf(order) >= 0 && ONE_BYTE.contains(code)) {
            return "|" + code;
        }
        if ("<>=".indexOf(order) >= 0 && MORE_BYTES.contains(code)) {
            return (order == '>' ? ">" : "<") + code;
        }
        throw new Refused("dtype '" + dtype + "' is not supported: expected one like |b1, <i4, >u2, <f8 or <c16");
    }

    private static long byteLength(int itemBytes, Ndecho.NDArray array) throws Refused {
        if (array.getShapeCount() > RANK_MAX) {
            throw new Refused("array has " + array.getShapeCount() + " dimensions, at most 64 are supported");
        }
        long bytes = itemBytes;
        boolean isEmpty = false;
        for (int at = 0; at < array.getShapeCount(); at++) {
            long dim = array.getShape(at); // 2^63 and more are negative here
            isEmpty |= dim == 0;
            if (dim < 0 || dim > 0 && bytes > Long.MAX_VALUE / dim) {
                throw new Refused("array size overflows 63 bits");
            }
            bytes *= Math.max(dim, 1);
        }
        return isEmpty ? 0 : bytes;
    }
}
