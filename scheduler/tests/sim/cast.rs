//! Who takes part: how many, and how many of each character.

/// How a provider behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Character {
    /// Does what it says.
    Honest,
    /// Drops its connection in the middle of things.
    Crashes,
    /// Gives up most jobs.
    Declines,
    /// Answers when its time is over, withdrawn or not.
    Late,
    /// Sends results for jobs it does not hold, of wrong kinds, under wrong leases.
    Lies,
    /// Does not compute and says something false of its own.
    Cheats,
    /// Says something false that its gang agreed on.
    Colludes,
    /// Says the same to everything, at once.
    IsLazy,
    /// Repeats an answer that it saw: results of open jobs are withheld, so it is another job's.
    Copies,
    /// Advertises far more slots than it has: what it takes on beyond them takes as much longer.
    Overclaims,
    /// Takes jobs and says nothing more, or that it is at it, for ever.
    Stalls,
}

/// Of a thousand providers, how many have which character; the last 200 are malicious.
const SHARES: [(Character, u64); 11] = [
    (Character::Honest, 600),
    (Character::Crashes, 75),
    (Character::Declines, 50),
    (Character::Late, 50),
    (Character::Lies, 25),
    (Character::Cheats, 40),
    (Character::Colludes, 50),
    (Character::IsLazy, 30),
    (Character::Copies, 25),
    (Character::Overclaims, 25),
    (Character::Stalls, 30),
];

/// A cast of any size. With 40 providers every character is there.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    pub providers: u64,
    pub customers: u64,
    /// Of a thousand providers, so many leave for good or for a while each hour.
    pub churn_permille: u64,
}

impl Cast {
    /// As many customers as there are a quarter of the providers, and 30% churn an hour.
    pub const fn of(providers: u64) -> Self {
        Self { providers, customers: if providers < 40 { 10 } else { providers / 4 }, churn_permille: 300 }
    }

    /// The character of a provider by its number.
    pub fn character(&self, number: u64) -> Character {
        let place = number * 1_000 / self.providers;
        let mut end = 0;
        let reaches = |(_, share): &&(Character, u64)| {
            end += share;
            place < end
        };
        SHARES.iter().find(reaches).map_or(Character::Honest, |(character, _)| *character)
    }
}

/// Every tenth customer never pays.
pub fn never_pays(customer: u64) -> bool {
    customer % 10 == 9
}
