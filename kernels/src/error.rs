/// Why a kernel refused its input. Nothing here heals by trying again with the same input.
///
/// `update` and `coordinate` count from zero, in the order of the caller's updates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("there are no updates to aggregate")]
    NoUpdates,

    #[error("{weights} weights for {updates} updates")]
    WeightCount { weights: usize, updates: usize },

    #[error("update {update} has {len} coordinates, expected {expected}")]
    UpdateLength { update: usize, len: usize, expected: usize },

    #[error("there is room for {len} coordinates, expected {expected}")]
    OutputLength { len: usize, expected: usize },

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

    /// A rule promises nothing when so many of so few updates are faulty.
    #[error("{rule} needs {needs}; there are {n} updates for f = {f}")]
    TooManyFaulty { rule: &'static str, needs: &'static str, n: usize, f: usize },

    #[error("{name} must be {must}")]
    Parameter { name: &'static str, must: &'static str },

    /// The rule has no opinion: by its measure nobody deserves any weight.
    #[error("{rule} trusts none of the updates")]
    NobodyTrusted { rule: &'static str },

    /// The bytes behind an update are not there or not what they should be.
    #[error("update {update} cannot be read: {reason}")]
    Unreadable { update: usize, reason: String },
}
