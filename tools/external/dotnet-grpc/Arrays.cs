/// <summary>Message that is not an array of the contract. Its text goes to the client.</summary>
sealed class RefusedException(string reason) : Exception(reason);

/// <summary>Checks of the contract: the closed list of dtypes, and the size that a shape needs.</summary>
static class Arrays
{
    const int RankMax = 64; // limit of NumPy

    static readonly string[] OneByte = ["b1", "i1", "u1"];
    static readonly string[] MoreBytes = ["i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"];

    /// <summary>Returns the canonical dtype of an array if its dtype, shape and number of data bytes fit.</summary>
    public static string Check(NDArray array)
    {
        var dtype = Canonical(array.Dtype);
        var needed = ByteLength(long.Parse(dtype.AsSpan(2)), array.Shape);
        if (needed != array.Buffer.Length)
        {
            throw new RefusedException($"shape and dtype need {needed} bytes of data, got {array.Buffer.Length}");
        }
        return dtype;
    }

    static string Canonical(string dtype)
    {
        var order = dtype.Length == 0 ? '?' : dtype[0];
        var code = dtype.Length == 0 ? "" : dtype[1..];
        if ("|<>=".Contains(order) && OneByte.Contains(code))
        {
            return "|" + code;
        }
        if ("<>=".Contains(order) && MoreBytes.Contains(code))
        {
            return (order == '>' ? ">" : "<") + code;
        }
        throw new RefusedException($"dtype '{dtype}' is not supported: expected one like |b1, <i4, >u2, <f8 or <c16");
    }

    static long ByteLength(long itemBytes, IList<ulong> shape)
    {
        if (shape.Count > RankMax)
        {
            throw new RefusedException($"array has {shape.Count} dimensions, at most {RankMax} are supported");
        }
        var bytes = (ulong)itemBytes;
        foreach (var dim in shape.Where(dim => dim > 0))
        {
            if (bytes > long.MaxValue / dim)
            {
                throw new RefusedException("array size overflows 63 bits");
            }
            bytes *= dim;
        }
        return shape.Contains(0UL) ? 0 : (long)bytes;
    }
}
