//! Place of a known cost in the framing: a control, which a run must find again.

/// Spends `cost` by `spend`. The result keeps the call from being the last one of this function,
/// which would take this file off the stack.
#[inline(never)]
pub fn spend<T>(spend: fn(T) -> u64, cost: T) -> u64 {
    std::hint::black_box(spend(cost))
}
