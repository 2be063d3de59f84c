// Numbers of 16 bits (IEEE 754 binary16) as bits, for Node before version 24, which has no Float16Array.

const SUBNORMAL_STEP = 2 ** -24;

export function toNumber(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * SUBNORMAL_STEP;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** Returns the bits of the nearest number, of two equally near ones the even one. */
export function fromNumber(value) {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  const exponent = size < 2 ** -14 ? -14 : Math.min(Math.floor(Math.log2(size)), 16);
  // Math.log2 may be wrong by one next to a power of two. The carry below covers one side.
  const lowered = size < 2 ** exponent && exponent > -14 ? exponent - 1 : exponent;
  const steps = roundToEven(size / 2 ** (lowered - 10));
  // A normal number has 1024 to 2047 steps; 2048 carry into the exponent.
  const bits = steps + (lowered + 14) * 1024;
  return sign | Math.min(bits, 0x7c00);
}

function roundToEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}
