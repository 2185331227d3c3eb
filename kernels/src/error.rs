/// Why a kernel refused its input. Nothing here heals by trying again with the same input.
///
/// `update` and `coordinate` count from zero, in the order of the caller's slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("there are no updates to aggregate")]
    NoUpdates,

    #[error("{weights} weights for {updates} updates")]
    WeightCount { weights: usize, updates: usize },

    #[error("update {update} has {len} coordinates, expected {expected}")]
    UpdateLength { update: usize, len: usize, expected: usize },

    #[error("the weight of update {update} is not finite")]
    WeightNotFinite { update: usize },

    #[error("the weight of update {update} is negative")]
    WeightNegative { update: usize },

    #[error("the weights sum to zero")]
    ZeroTotalWeight,

    #[error("coordinate {coordinate} of update {update} is not finite")]
    NotFinite { update: usize, coordinate: usize },

    /// The updates are finite but so near to `f32::MAX` that their aggregate is not.
    #[error("the aggregate overflows at coordinate {coordinate}")]
    Overflow { coordinate: usize },
}
