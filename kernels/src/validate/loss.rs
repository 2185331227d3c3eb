//! Losses: what a provider says of itself, and what one measures oneself.

/// Rules on the loss that a provider reports. It is only a claim: a good one proves nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reported {
    /// At most so many times the loss of the last round.
    pub of_last: f64,
    /// At most so many times the mean of the other providers' losses.
    pub of_others: f64,
}

impl Default for Reported {
    fn default() -> Self {
        Self { of_last: 1.1, of_others: 1.2 }
    }
}

impl Reported {
    /// Which of a round's losses are acceptable. There is no last round before the first; the others are those whose
    /// loss is finite.
    pub fn accept(&self, losses: &[f64], last: Option<f64>) -> Vec<bool> {
        let finite = |except: usize| {
            losses.iter().enumerate().filter(move |&(i, loss)| i != except && loss.is_finite()).map(|(_, loss)| loss)
        };
        let acceptable = |(i, &loss): (usize, &f64)| {
            let others = finite(i).count();
            let mean = finite(i).sum::<f64>() / others as f64;
            loss.is_finite()
                && last.is_none_or(|last| loss <= self.of_last * last)
                && (others == 0 || loss <= self.of_others * mean)
        };
        losses.iter().enumerate().map(acceptable).collect()
    }
}

/// Which updates make the model better on data that their makers do not know: `L(θ) - L(θ_i) >= c · median of the
/// gains`. `after` are the losses of the model with each update; one that is not finite is never accepted.
pub fn loss_gain(before: f64, after: &[f64], c: f64) -> Vec<bool> {
    let gains: Vec<f64> = after.iter().map(|after| before - after).collect();
    let mut finite: Vec<f64> = gains.iter().copied().filter(|gain| gain.is_finite()).collect();
    finite.sort_unstable_by(f64::total_cmp);
    let median = match finite.len() {
        0 => return vec![false; after.len()],
        len => (finite[(len - 1) / 2] + finite[len / 2]) / 2.0,
    };
    gains.iter().map(|gain| gain.is_finite() && *gain >= c * median).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reported_losses_are_held_against_the_last_round_and_the_others() {
        let check = |losses: &[f64], last, expected: &[bool]| {
            assert_eq!(Reported::default().accept(losses, last), expected, "{losses:?} {last:?}");
        };
        check(&[], None, &[]);
        check(&[3.0], None, &[true]);
        check(&[f64::NAN, f64::INFINITY, 1.0], None, &[false, false, true]);
        check(&[1.1, 1.11], Some(1.0), &[true, false]);
        check(&[1.0, 1.0, 1.2, 1.3], None, &[true, true, true, false]);
    }

    #[test]
    fn an_update_must_gain_its_share_of_the_median() {
        let check = |after: &[f64], expected: &[bool]| assert_eq!(loss_gain(3.0, after, 0.5), expected, "{after:?}");
        check(&[], &[]);
        check(&[2.0, 2.0, 2.5, 2.8, 46.0], &[true, true, true, false, false]);
        check(&[2.0, f64::NAN, f64::INFINITY], &[true, false, false]);
        check(&[f64::NAN], &[false]);
    }
}
