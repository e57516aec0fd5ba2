//! How many records a second are offered, as a function of the time since the start. Pure.
//! Called by the pacer of `sender` and by `model`.
//!
//! Written as text, on the command line, in `POST /rate` and in JSON:
//!
//! ```text
//! 5000                                                    the same as constant:rate=5000
//! ramp:from=1000,to=50000,over=2m                         then stays
//! surge:base=2000,peak=40000,at=30s,for=1m                then base again
//! day:low=2000,peak=30000,length=10m,seed=7               24 hours in 10 minutes, from midnight, repeating
//! day:low=2000,peak=30000,length=10m,start=6h             the same, from 06:00
//! ```
use crate::day;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Offered load over time, in records a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Profile {
    /// The same all the time.
    Constant {
        /// Records a second.
        rate: f64,
    },
    /// A straight line, then constant.
    Ramp {
        /// Records a second at the start.
        from: f64,
        /// Records a second at the end and after it.
        to: f64,
        /// How long the line takes.
        over: Duration,
    },
    /// A step up and down again.
    Surge {
        /// Records a second before and after.
        base: f64,
        /// Records a second during the surge.
        peak: f64,
        /// When it starts.
        at: Duration,
        /// How long it lasts.
        lasting: Duration,
    },
    /// A day with a trough before dawn and two humps, compressed; see `day.rs` for its source.
    Day {
        /// Records a second in the trough.
        low: f64,
        /// Records a second at the evening crest; noise may pass it by up to a third.
        peak: f64,
        /// How long 24 hours take.
        length: Duration,
        /// Hour of the day at which it starts, as a fraction of a day in 0..1.
        start: f64,
        /// Chooses the noise.
        seed: u64,
    },
}

impl Profile {
    /// The same rate all the time.
    #[must_use]
    pub fn constant(records_per_second: f64) -> Self {
        Self::Constant { rate: records_per_second }
    }

    /// Records a second to offer at `since` the start; never negative.
    #[must_use]
    pub fn rate_at(&self, since: Duration) -> f64 {
        let t = since.as_secs_f64();
        match self {
            Self::Constant { rate } => *rate,
            Self::Ramp { from, to, over } => {
                let done = (t / over.as_secs_f64()).min(1.0);
                from + (to - from) * done
            }
            Self::Surge { base, peak, at, lasting } => {
                let during = since >= *at && since < at.saturating_add(*lasting);
                if during { *peak } else { *base }
            }
            Self::Day { low, peak, length, start, seed } => {
                let day = start + t / length.as_secs_f64();
                (low + (peak - low) * day::shape(day)) * day::noise(day, *seed)
            }
        }
    }
}

/// A profile that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProfileError {
    /// The word before the colon.
    #[error("unknown profile {0:?}: one of constant, ramp, surge, day, or a plain number")]
    Unknown(String),
    /// A setting that the profile does not have, or that is written wrongly.
    #[error("{profile}: {setting:?}: {problem}")]
    Setting {
        /// The profile.
        profile: String,
        /// The text `key=value`.
        setting: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A setting that the profile needs.
    #[error("{profile} needs {setting}=…")]
    Missing {
        /// The profile.
        profile: String,
        /// Its name.
        setting: &'static str,
    },
}

/// Parses `90s`, `2m`, `1h 30m` or a plain number of seconds.
///
/// # Errors
/// What is wrong with it; a negative time is.
pub fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string());
    }
    let signed: SignedDuration = text.parse().map_err(|e: jiff::Error| e.to_string())?;
    Duration::try_from(signed).map_err(|e| e.to_string())
}

/// The settings of one profile while they are being read.
struct Settings<'a> {
    profile: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Settings<'a> {
    fn read(profile: &'a str, text: &'a str) -> Result<Self, ProfileError> {
        let pair = |s: &'a str| {
            s.split_once('=').ok_or_else(|| ProfileError::Setting {
                profile: profile.to_owned(),
                setting: s.to_owned(),
                problem: "expected key=value".to_owned(),
            })
        };
        let pairs = text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(pair).collect::<Result<_, _>>()?;
        Ok(Self { profile, pairs })
    }

    fn take<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, ProfileError> {
        let Some(place) = self.pairs.iter().position(|(k, _)| *k == key) else {
            return Ok(None);
        };
        let (_, value) = self.pairs.swap_remove(place);
        parse(value).map(Some).map_err(|problem| ProfileError::Setting { profile: self.profile.to_owned(), setting: format!("{key}={value}"), problem })
    }

    fn need<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, ProfileError> {
        self.take(key, parse)?.ok_or_else(|| ProfileError::Missing { profile: self.profile.to_owned(), setting: key })
    }

    fn finish(self) -> Result<(), ProfileError> {
        match self.pairs.first() {
            None => Ok(()),
            Some((key, value)) => Err(ProfileError::Setting {
                profile: self.profile.to_owned(),
                setting: format!("{key}={value}"),
                problem: "this profile has no such setting, or it is given twice".to_owned(),
            }),
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(r) if r.is_finite() && r >= 0.0 => Ok(r),
        Ok(_) => Err("a rate is a finite number, at least 0".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

fn span(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        d if d.is_zero() => Err("must be longer than 0".to_owned()),
        d => Ok(d),
    }
}

fn hour(text: &str) -> Result<f64, String> {
    Ok((duration(text)?.as_secs_f64() / 86_400.0).fract())
}

impl FromStr for Profile {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, ProfileError> {
        let text = text.trim();
        if let Ok(rate) = rate(text) {
            return Ok(Self::Constant { rate });
        }
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let mut s = Settings::read(name, rest)?;
        let profile = match name {
            "constant" => Self::Constant { rate: s.need("rate", rate)? },
            "ramp" => Self::Ramp { from: s.need("from", rate)?, to: s.need("to", rate)?, over: s.need("over", span)? },
            "surge" => Self::Surge { base: s.need("base", rate)?, peak: s.need("peak", rate)?, at: s.need("at", duration)?, lasting: s.need("for", span)? },
            "day" => Self::Day {
                low: s.need("low", rate)?,
                peak: s.need("peak", rate)?,
                length: s.need("length", span)?,
                start: s.take("start", hour)?.unwrap_or(0.0),
                seed: s.take("seed", |t| t.parse::<u64>().map_err(|e| e.to_string()))?.unwrap_or(1),
            },
            other => return Err(ProfileError::Unknown(other.to_owned())),
        };
        s.finish()?;
        Ok(profile)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = Duration::as_secs_f64;
        match self {
            Self::Constant { rate } => write!(f, "constant:rate={rate}"),
            Self::Ramp { from, to, over } => {
                write!(f, "ramp:from={from},to={to},over={}", s(over))
            }
            Self::Surge { base, peak, at, lasting } => write!(f, "surge:base={base},peak={peak},at={},for={}", s(at), s(lasting)),
            Self::Day { low, peak, length, start, seed } => write!(f, "day:low={low},peak={peak},length={},start={},seed={seed}", s(length), start * 86_400.0),
        }
    }
}

impl TryFrom<String> for Profile {
    type Error = ProfileError;
    fn try_from(text: String) -> Result<Self, ProfileError> {
        text.parse()
    }
}

impl From<Profile> for String {
    fn from(profile: Profile) -> Self {
        profile.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(profile: &str, seconds: f64) -> f64 {
        let profile: Profile = profile.parse().unwrap();
        profile.rate_at(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn a_plain_number_is_a_constant_rate() {
        assert_eq!(at("2500", 0.0), 2500.0);
        assert_eq!(at("constant:rate=2500", 1e6), 2500.0);
    }

    #[test]
    fn a_ramp_is_a_line_that_stays_at_its_end() {
        let p = "ramp:from=100,to=300,over=10s";
        assert_eq!([at(p, 0.0), at(p, 5.0), at(p, 10.0), at(p, 99.0)], [100.0, 200.0, 300.0, 300.0]);
    }

    #[test]
    fn a_surge_begins_and_ends_when_it_says() {
        let p = "surge:base=10,peak=90,at=1m,for=30s";
        assert_eq!([at(p, 59.9), at(p, 60.0), at(p, 89.9), at(p, 90.0)], [10.0, 90.0, 90.0, 10.0]);
    }

    #[test]
    fn a_compressed_day_stays_near_its_bounds_and_starts_where_it_is_told() {
        let p = "day:low=1000,peak=9000,length=10m,seed=3";
        let rates: Vec<f64> = (0..600).map(|s| at(p, f64::from(s))).collect();
        assert!(rates.iter().all(|r| (900.0..=9000.0 * 1.35).contains(r)));
        assert!(rates.iter().copied().fold(f64::MIN, f64::max) > 8500.0);
        assert!(rates.iter().copied().fold(f64::MAX, f64::min) < 1100.0);
        let evening = "day:low=1000,peak=9000,length=10m,seed=3,start=20h";
        assert!((at(evening, 0.0) - at(p, 500.0)).abs() < 1.0);
    }

    #[test]
    fn what_a_profile_prints_it_reads_again() {
        for p in ["1234.5", "ramp:from=1,to=2,over=90s", "surge:base=1,peak=2,at=1m,for=2m", "day:low=1,peak=2,length=10m,start=6h,seed=9"] {
            let once: Profile = p.parse().unwrap();
            assert_eq!(once, once.to_string().parse().unwrap());
        }
    }

    #[test]
    fn a_wrong_profile_says_what_is_wrong() {
        for (text, says) in [
            ("wave:rate=1", "unknown profile"),
            ("ramp:from=1,to=2", "needs over"),
            ("ramp:from=-1,to=2,over=1s", "at least 0"),
            ("constant:rate=1,speed=2", "no such setting"),
            ("surge:base", "expected key=value"),
        ] {
            let error = text.parse::<Profile>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
