//! A store that is played: time, nodes that answer or do not, records that owners store, and a ledger. Every
//! decision is checked as it is made.

use std::collections::BTreeMap;
use weir_core::ids::{Digest, ObjectRef, UnixMs};
use weir_core::placement::{
    ChurnLimits, FailoverRules, Ledger, Liveness, Loads, NO_NODE, NodeBounds, NodeColumns, PartitionColumns, PlacementDecision, PlacementInput,
    PlacementPolicy, PlacementSnapshot, Sight, budget, decide_placement, decision::SCHEMA,
};
use weir_core::scaling::PolicyStamp;
use weir_core::snapshot::Mode;

const RETENTION: i64 = 7 * 86_400_000;
pub(crate) const LIMITS: ChurnLimits = ChurnLimits { max_moves_per_step: 16, max_moves_per_hour: 64, min_interval_ms: 60_000 };
const RULES: FailoverRules = FailoverRules { node_timeout_ms: 15_000, losses: 3, window_ms: 600_000, quarantine_ms: 900_000 };

/// Marsaglia's xorshift64: the same sequences on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

pub(crate) struct Store {
    pub(crate) now: UnixMs,
    pub(crate) ledger: Ledger,
    pub(crate) names: Vec<String>,
    pub(crate) up: Vec<bool>,
    pub(crate) cordoned: Vec<bool>,
    pub(crate) weights: Vec<f64>,
    liveness: Vec<Liveness>,
    /// When a node stored a record of a partition last.
    stored: BTreeMap<(u32, u32), UnixMs>,
    /// When how many partitions were moved by a policy's wish.
    moved: Vec<(UnixMs, u32)>,
    /// The owner that a partition got in an epoch.
    owners: BTreeMap<(u32, u64), String>,
}

impl Store {
    pub(crate) fn new(nodes: usize, partitions: usize) -> Self {
        let mut ledger = Ledger::new(partitions, 1);
        ledger.nodes = nodes as u32;
        Self {
            now: UnixMs(1_000_000_000_000),
            ledger,
            names: (0..nodes).map(|node| format!("n{node:03}")).collect(),
            up: vec![true; nodes],
            cordoned: vec![false; nodes],
            weights: vec![1.0; partitions],
            liveness: vec![Liveness::default(); nodes],
            stored: BTreeMap::new(),
            moved: Vec::new(),
            owners: BTreeMap::new(),
        }
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.names.binary_search_by(|known| known.as_str().cmp(name)).ok()
    }

    pub(crate) fn snapshot(&self, ledger: &Ledger, stale: bool) -> PlacementSnapshot {
        let count = self.names.len();
        let ownership = &ledger.mirrors()[0];
        let budget = budget(self.now, ledger, &LIMITS, stale);
        let owner = |partition: usize| ownership.owner(partition).and_then(|name| self.index(name)).map_or(NO_NODE, |node| node as u32);
        let input = PlacementInput {
            now: self.now,
            object: ObjectRef::new("logs", "store"),
            mirror: 0,
            bounds: NodeBounds { count: ledger.nodes, min: 1, max: 1000 },
            nodes: NodeColumns {
                names: self.names.clone(),
                zones: (0..count).map(|node| (node % 3) as u32).collect(),
                zone_names: vec!["a".into(), "b".into(), "c".into()],
                states: self.liveness.iter().zip(&self.cordoned).map(|(node, cordoned)| node.state(*cordoned)).collect(),
                capacities: vec![1.0; count],
                fills: vec![f64::NAN; count],
            },
            partitions: PartitionColumns { owners: (0..ownership.len()).map(owner).collect(), weights: self.weights.clone() },
            max_moves: budget.0,
            params: "{}".into(),
            state: Vec::new(),
        };
        PlacementSnapshot {
            schema: SCHEMA,
            mirrors: vec![input],
            epoch: ledger.epoch(),
            policy: Some(PolicyStamp { object: ObjectRef::new("logs", "rule"), digest: Digest::of(b""), name: "rule".into(), version: "1".into() }),
            unresolved: None,
            limits: LIMITS,
            budget,
            pin: None,
            mode: Mode::Enforce,
            paused: false,
        }
    }

    /// Time passes, nodes are looked at, and what collectors send is stored by the owners that are up.
    pub(crate) fn pass(&mut self, ms: i64, blind: bool) {
        self.now = self.now.plus(ms);
        for (liveness, up) in self.liveness.iter_mut().zip(&self.up) {
            let answer = if *up { Sight::Answers } else { Sight::Silent };
            liveness.see(self.now, if blind { Sight::Unknown } else { answer }, &RULES);
        }
        let ownership = &self.ledger.mirrors()[0];
        let owned = (0..ownership.len()).filter_map(|partition| Some((partition as u32, self.index(ownership.owner(partition)?)?)));
        let stored: Vec<(u32, u32)> = owned.filter(|(_, node)| self.up[*node]).map(|(partition, node)| (partition, node as u32)).collect();
        self.stored.extend(stored.into_iter().map(|key| (key, self.now)));
    }

    /// Decides, makes it true, and checks it.
    pub(crate) fn decide(&mut self, policy: &dyn PlacementPolicy, stale: bool) -> PlacementDecision {
        let snapshot = self.snapshot(&self.ledger, stale);
        let decision = decide_placement(&snapshot, Some(policy)).unwrap();
        let before = self.ledger.clone();
        assert_eq!(decision.epoch, before.epoch());
        self.ledger.grant(decision.epoch, self.now, &decision.grants()).unwrap();
        self.ledger.moved(self.now, decision.moves());
        self.one_owner_in_one_epoch(&before, &snapshot, &decision);
        self.ledger.trim(self.now, Some(RETENTION));
        self.the_budget_is_kept(decision.moves(), stale);
        decision
    }

    fn one_owner_in_one_epoch(&mut self, before: &Ledger, snapshot: &PlacementSnapshot, decision: &PlacementDecision) {
        let (nodes, epoch) = (&snapshot.mirrors[0].nodes, self.ledger.epoch());
        assert!(epoch >= before.epoch());
        for change in decision.grants().iter().flatten() {
            let partition = change.partition as usize;
            let last = self.ledger.mirrors()[0].owners(partition).last().unwrap();
            assert_eq!((last.node, last.epoch), (change.to.as_str(), epoch));
            assert!(before.mirrors()[0].owners(partition).all(|owner| owner.epoch < epoch && owner.from <= last.from));
            assert_eq!(self.owners.insert((change.partition, epoch.0), change.to.clone()), None, "partition {partition} had an owner in epoch {}", epoch.0);
            assert!(nodes.takes(nodes.position(&change.to).unwrap()), "partition {partition} was given to a node that takes none");
        }
    }

    fn the_budget_is_kept(&mut self, moves: u32, stale: bool) {
        assert!(moves <= LIMITS.max_moves_per_step && (!stale || moves == 0));
        if moves == 0 {
            return;
        }
        let ages: Vec<(i64, u32)> = self.moved.iter().map(|(at, count)| (self.now.since(*at), *count)).collect();
        let hour: u32 = ages.iter().filter(|(age, _)| (0..3_600_000).contains(age)).map(|(_, count)| count).sum();
        assert!(hour + moves <= LIMITS.max_moves_per_hour, "{moves} moves after {hour} within the hour");
        assert!(ages.iter().all(|(age, _)| *age >= LIMITS.min_interval_ms || *age < 0), "moves too soon after others");
        self.moved.push((self.now, moves));
    }

    /// Whoever holds a record that is to be kept is listed.
    pub(crate) fn nothing_owed_is_dropped(&mut self) {
        let now = self.now;
        self.stored.retain(|_, at| now.since(*at) < RETENTION);
        let holds = self.ledger.holds();
        for (partition, node) in self.stored.keys() {
            let name = self.names[*node as usize].as_str();
            let listed = self.ledger.mirrors()[0].owners(*partition as usize).any(|owner| owner.node == name);
            assert!(listed, "partition {partition} has records on {name} that are to be kept, and nobody knows");
            assert!(holds.get(name).is_some_and(|holds| !holds.nothing()), "{name} could be removed");
        }
    }

    /// The fullest node over the mean.
    pub(crate) fn ratio(&self) -> f64 {
        let snapshot = self.snapshot(&self.ledger, false);
        let input = &snapshot.mirrors[0];
        let loads = Loads::of(&input.partitions.owners, &input.partitions.weights, input.nodes.len());
        loads.max_over_mean(&input.nodes, &input.partitions).unwrap_or(1.0)
    }
}
