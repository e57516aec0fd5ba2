use super::*;
use crate::bounds::longest_first;
use crate::plan::NO_NODE;
use weir_policy::placement::testing::input;

/// Marsaglia's xorshift64: the same cases on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn share(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap()) / f64::from(u32::MAX)
    }

    fn between(&mut self, least: u64, most: u64) -> u32 {
        u32::try_from(least + self.next() % (most - least + 1)).unwrap()
    }
}

struct Case {
    nodes: Vec<Node>,
    weights: Vec<f64>,
    owners: Vec<u32>,
    /// Weights are within a factor of three of each other, and nodes alike.
    even: bool,
}

/// A store of 2 to 30 nodes: equal, even, exponential or heavy-tailed weights; owners at random, nodes
/// that were added, that are lost or leave, or one that carries too much.
fn case(random: &mut Random) -> Case {
    let count = random.between(2, 30);
    let partitions = count * random.between(8, 40);
    let kind = random.between(0, 4);
    let weight = |random: &mut Random| match kind {
        0 => 1.0,
        1 => 0.5 + random.share(),
        2 => f64::from(random.between(1, 5)),
        3 => -(1.0 - random.share() * 0.999_999).ln(),
        _ => (1.0 - random.share() * 0.999_999).powf(-1.0 / 1.5).min(20.0),
    };
    let weights = (0..partitions).map(|_| weight(random)).collect();
    let alike = random.between(0, 3) > 0;
    let capacity = |random: &mut Random| if alike { 1.0 } else { f64::from(random.between(1, 3)) };
    let mut nodes: Vec<Node> = (0..count).map(|node| Node { usage: Use::Takes, capacity: capacity(random), zone: node % 3 }).collect();
    let mut owners: Vec<u32> = (0..partitions).map(|partition| partition % count).collect();
    let some = u64::from(count / 4).max(1);
    match random.between(0, 3) {
        0 => owners.iter_mut().for_each(|owner| *owner = random.between(0, u64::from(count) - 1)),
        1 => owners = (0..partitions).map(|partition| partition % (count - u32::try_from(some).unwrap())).collect(),
        2 => {
            let gone = random.between(1, some).min(count - 1);
            for node in nodes.iter_mut().take(usize::try_from(gone).unwrap()) {
                node.usage = if random.between(0, 1) == 0 { Use::Gone } else { Use::Leaves };
            }
        }
        _ => {
            let heavy = random.between(0, u64::from(count) - 1);
            owners.iter_mut().filter(|_| random.between(0, 9) == 0).for_each(|owner| *owner = heavy);
        }
    }
    Case { nodes, weights, owners, even: kind <= 1 && alike }
}

impl Case {
    fn takers(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.usage == Use::Takes)
    }

    fn mean(&self) -> f64 {
        self.weights.iter().sum::<f64>() / self.takers().map(|node| node.capacity).sum::<f64>()
    }

    /// Fewer moves than this never bring the fullest node to `ratio` times the mean: whatever is on a node
    /// that is gone or leaves has to move, and a node with the load L above its ceiling u has to be rid of
    /// at least L - u, for which no set of partitions is smaller than that of its heaviest ones. The nodes
    /// are disjoint, so the numbers add up.
    fn bound(&self, ratio: f64) -> u32 {
        let of = |node: usize| self.owners.iter().zip(&self.weights).filter(move |(owner, _)| usize::try_from(**owner) == Ok(node)).map(|(_, weight)| *weight);
        let mut sum = 0;
        for (index, node) in self.nodes.iter().enumerate() {
            let mut own: Vec<f64> = of(index).collect();
            own.sort_by(|a, b| b.total_cmp(a));
            let mut surplus = own.iter().sum::<f64>() - node.capacity * self.mean() * ratio;
            for weight in own {
                if node.usage == Use::Takes && surplus <= 1e-9 {
                    break;
                }
                surplus -= weight;
                sum += 1;
            }
        }
        sum
    }

    fn best_known(&self) -> f64 {
        let mut weights = self.weights.clone();
        weights.sort_by(|a, b| b.total_cmp(a));
        longest_first(&weights, &self.takers().map(|node| node.capacity).collect::<Vec<f64>>()) / self.mean()
    }
}

#[test]
fn ten_thousand_stores_are_balanced_with_next_to_the_fewest_moves() {
    let mut random = Random(88_172_645_463_325_252);
    let (mut moves, mut bound, mut above, mut missed) = (0, 0, 0, 0);
    for number in 0..10_000 {
        let case = case(&mut random);
        let mut plan = Plan::new(&case.nodes, &case.weights, &case.owners, u32::MAX, 0.05);
        plan.run();
        assert!(plan.owners.iter().all(|owner| *owner != NO_NODE), "case {number}: a partition has no node");
        let stranded = plan.owners.iter().any(|owner| case.nodes[usize::try_from(*owner).unwrap()].usage != Use::Takes);
        assert!(!stranded, "case {number}: a partition stays on a node that goes");
        let ratio = plan.max_over_mean();
        // Weights allow it when a placement from nothing comes that far.
        missed += u32::from(ratio > 1.05 + 1e-6 && case.best_known() <= 1.05);
        let made = u32::try_from(case.owners.iter().zip(&plan.owners).filter(|(before, after)| before != after).count()).unwrap();
        let fewest = case.bound(ratio.max(1.05));
        let within = f64::from(made) <= 1.1 * f64::from(fewest) + 1e-9;
        assert!(within || !case.even, "case {number}: {made} moves where the bound is {fewest}");
        above += u32::from(!within);
        (moves, bound) = (moves + made, bound + fewest);
    }
    println!("{moves} moves, bound {bound}; above 1.1 times the bound: {above} of 10000; above 1.05 though weights allow it: {missed}");
    assert!(f64::from(moves) <= 1.01 * f64::from(bound), "{moves} moves in all where the bound is {bound}");
    // With heavy-tailed weights the heaviest partition often fits nowhere, and the bound can't be reached.
    assert!(above <= 500, "{above} of 10,000 stores are above 1.1 times the bound");
    assert_eq!(missed, 0, "stores are above 1.05 times the mean though weights allow it");
}

#[test]
fn what_is_balanced_is_left_alone() {
    let mut random = Random(7);
    for number in 0..1000 {
        let case = case(&mut random);
        let mut plan = Plan::new(&case.nodes, &case.weights, &case.owners, u32::MAX, 0.05);
        plan.run();
        let mut again = Plan::new(&case.nodes, &case.weights, &plan.owners, u32::MAX, 0.05);
        let ratio = plan.max_over_mean();
        again.run();
        assert!(plan.owners == again.owners || again.max_over_mean() < ratio, "case {number} moves without need");
    }
}

#[test]
fn the_budget_is_kept_and_steps_lead_where_one_would() {
    let mut random = Random(11);
    for number in 0..500 {
        let case = case(&mut random);
        let budget = random.between(2, 20);
        let mut owners = case.owners.clone();
        let mut steps = 0;
        loop {
            let mut plan = Plan::new(&case.nodes, &case.weights, &owners, budget, 0.05);
            let paid = plan.run();
            let gone = |owner: &u32| usize::try_from(*owner).ok().and_then(|node| case.nodes.get(node)).is_none_or(|node| node.usage == Use::Gone);
            let moved = owners.iter().zip(&plan.owners).filter(|(before, after)| before != after && !gone(before)).count();
            assert!(paid <= budget && moved <= usize::try_from(budget).unwrap(), "case {number}: {moved} moves of {budget}");
            if plan.owners == owners {
                break;
            }
            owners = plan.owners;
            steps += 1;
            assert!(steps < 500, "case {number} never comes to rest");
        }
        let ratio = Plan::new(&case.nodes, &case.weights, &owners, 0, 0.05).max_over_mean();
        assert!(ratio <= 1.3_f64.max(case.best_known() * 1.05), "case {number} rests at {ratio}");
    }
}

fn decided(input: &Input) -> Placement {
    decide(input, &Params::default(), ()).unwrap()
}

#[test]
fn a_new_node_gets_its_share_with_the_fewest_moves() {
    let input = input().nodes(&["a", "b", "c"]).spread(64, 2).build();
    let placed = decided(&input);
    let counts: Vec<usize> = (0..3).map(|node| placed.owners.iter().filter(|owner| **owner == node).count()).collect();
    assert_eq!((counts, placed.code.as_str()), (vec![22, 22, 20], "Rebalanced"));
    assert_eq!(placed.get("moves"), Some(20.0));
    assert_eq!(placed.sentence, "The fullest node carries 1.5 times the mean; with 20 moves it is 1.03.");
}

#[test]
fn capacity_counts() {
    let input = input().nodes(&["a", "b"]).capacity(0, 3.0).spread(40, 2).build();
    let placed = decided(&input);
    assert!((29..=31).contains(&placed.owners.iter().filter(|owner| **owner == 0).count()));
}

#[test]
fn of_equal_nodes_the_zone_with_least_to_do_comes_first() {
    let input = input().nodes(&["a", "b", "c", "d"]).zones(&[0, 0, 0, 1]).spread(2, 0).build();
    assert_eq!(decided(&input).owners, [0, 3]);
}

#[test]
fn a_hot_partition_gets_a_node_for_itself_and_the_others_are_balanced() {
    let mut input = input().nodes(&["a", "b", "c", "d"]).spread(31, 4).build();
    input.partitions.weights[0] = 40.0;
    let owners = decided(&input).owners;
    let count = |node: u32| owners.iter().filter(|owner| **owner == node).count();
    assert_eq!((owners[0], count(0)), (0, 1));
    assert!((1..4).all(|node| count(node) == 10), "{owners:?}");
}

#[test]
fn silent_and_quarantined_nodes_keep_what_they_have_and_get_nothing() {
    for state in [NodeState::Silent, NodeState::Quarantined, NodeState::Starting] {
        let input = input().nodes(&["a", "b", "c"]).state(1, state).spread(30, 3).build();
        let placed = decided(&input);
        assert_eq!((placed.get("moves"), placed.owners), (Some(0.0), input.partitions.owners), "{state:?}");
    }
}

#[test]
fn without_a_node_that_takes_any_it_refuses() {
    let input = input().nodes(&["a"]).state(0, NodeState::Cordoned).spread(4, 1).build();
    assert_eq!(decide(&input, &Params::default(), ()).unwrap_err().code, "NoReadyNode");
    let params = Params { min_fill: 0.9, ..Params::default() };
    assert_eq!(decide(&input, &params, ()).unwrap_err().code, "InvalidParams");
}

#[test]
fn nodes_follow_the_disks_and_stay_while_one_is_not_known() {
    let cases: [(&[f64], f64, u32); 7] = [
        (&[0.5, 0.5], 0.0, 2),
        (&[0.9, 0.9], 0.0, 3),
        (&[1.0, 1.0], 0.0, 3),
        (&[0.9, f64::NAN], 0.0, 2),
        (&[0.1, 0.1], 0.0, 2),
        (&[0.1, 0.1], 0.3, 1),
        (&[0.2, 0.2], 0.3, 2),
    ];
    for (fills, min_fill, wanted) in cases {
        let input = input().nodes(&["a", "b"]).fills(fills).spread(8, 2).build();
        let placed = decide(&input, &Params { min_fill, ..Params::default() }, ()).unwrap();
        assert_eq!(placed.nodes, wanted, "{fills:?}");
    }
}
