//! The streams of a run: their names, their shares of the load and the connections that carry
//! them. Pure. Called by `sender` when it starts.
use crate::num::{floor, index, wide};

/// Shares of the load of `n` streams, the first the heaviest: stream `i` gets `1/(i+1)^exponent`,
/// normalised to a sum of 1. An exponent of 0 makes them equal; 1 is Zipf's law, which request
/// volumes of services follow about.
pub(crate) fn zipf(n: usize, exponent: f64) -> Vec<f64> {
    let raw: Vec<f64> = (0..n).map(|i| (wide(i) as f64 + 1.0).powf(-exponent)).collect();
    let sum: f64 = raw.iter().sum();
    raw.into_iter().map(|w| w / sum).collect()
}

/// `svc-00`, `svc-01`, …; as many digits as the largest needs, at least two.
pub(crate) fn names(n: usize) -> Vec<String> {
    let digits = n.saturating_sub(1).to_string().len().max(2);
    (0..n).map(|i| format!("svc-{i:0digits$}")).collect()
}

/// Which connections carry each stream. With at least as many connections as streams, each stream
/// has its own: one, and more in proportion to its weight, as a service has more pods. With fewer,
/// streams share them, as services share a node's agent.
pub(crate) fn connections(weights: &[f64], connections: usize) -> Vec<Vec<usize>> {
    let spare = match connections.checked_sub(weights.len()) {
        Some(spare) => spare,
        None => {
            let one = |i: usize| vec![i.checked_rem(connections).unwrap_or(0)];
            return (0..weights.len()).map(one).collect();
        }
    };
    let ideal: Vec<f64> = weights.iter().map(|w| w * wide(spare) as f64).collect();
    let mut counts: Vec<usize> = ideal.iter().map(|x| 1 + index(floor(*x))).collect();
    // What rounding down left over goes to the largest remainders.
    let left = connections.saturating_sub(counts.iter().sum());
    let mut order: Vec<(f64, usize)> = ideal.iter().map(|x| x.fract()).zip(0..).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, stream) in order.into_iter().take(left) {
        if let Some(count) = counts.get_mut(stream) {
            *count += 1;
        }
    }
    let mut next = 0;
    let mut take = |n: usize| {
        let own: Vec<usize> = (next..next + n).collect();
        next += n;
        own
    };
    counts.into_iter().map(&mut take).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zipf_halves_the_share_of_the_second_stream_and_exponent_zero_makes_all_equal() {
        let w = zipf(4, 1.0);
        assert!((w[0] / w[1] - 2.0).abs() < 1e-9 && (w[0] / w[3] - 4.0).abs() < 1e-9);
        assert!((w.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(zipf(5, 0.0).iter().all(|w| (w - 0.2).abs() < 1e-9));
    }

    #[test]
    fn names_sort_in_the_order_of_their_streams() {
        assert_eq!(names(2), ["svc-00", "svc-01"]);
        assert_eq!(names(101)[7], "svc-007");
    }

    #[test]
    fn few_connections_are_shared() {
        assert_eq!(connections(&zipf(5, 1.0), 2), [[0], [1], [0], [1], [0]]);
    }

    proptest! {
        #[test]
        fn every_connection_is_used_and_every_stream_has_one(streams in 1_usize..40, conns in 1_usize..80) {
            let shared = connections(&zipf(streams, 1.0), conns);
            prop_assert!(shared.iter().all(|own| !own.is_empty()));
            let mut all: Vec<usize> = shared.into_iter().flatten().collect();
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(all, (0..conns).collect::<Vec<_>>());
        }
    }
}
