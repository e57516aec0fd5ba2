use super::super::engine::Vitals;
use super::super::valid::tests::valid;
use super::*;
use weir_core::placement::{Epoch, Holds, Move};

fn node(name: &str, mirror: usize, state: NodeState) -> Node {
    Node { name: name.into(), group: mirror, mirror, ordinal: 0, zone: None, state, holds: Holds { owned: 1, ..Holds::default() }, vitals: Vitals::default() }
}

fn kept(owners: &[&str]) -> Kept {
    let mut ledger = Ledger::new(owners.len(), 1);
    let moves = owners.iter().zip(0..).map(|(node, partition)| Move { partition, from: None, to: (*node).to_owned() }).collect();
    ledger.grant(Epoch(0), UnixMs(0), &[moves]).unwrap();
    ledger.nodes = 2;
    Kept::of(ledger, None)
}

use NodeState::{Lost, Ready, Silent, Starting};

#[test]
fn the_map_gets_a_new_version_when_it_says_something_new_and_only_then() {
    let (valid, kept) = (valid(&[], 1), kept(&["logs-0", "logs-1"]));
    let nodes = [node("logs-0", 0, Ready), node("logs-1", 0, Ready)];
    let (ledger, map) = next(&valid, &kept, &nodes, UnixMs(1), None);
    let map = map.unwrap();
    assert_eq!((ledger.version, map.version, map.epoch, &map.mirrors), (1, 1, 1, &vec![vec![0, 1]]));
    assert_eq!(map.slots[1].endpoint, "http://logs-1.logs-nodes.team.svc:9428");
    let kept = Kept::of(ledger, Some(map.clone()));
    let (again, same) = next(&valid, &kept, &nodes, UnixMs(2), None);
    assert_eq!((again, same.as_ref()), (kept.ledger.clone(), Some(&map)));
    let more = [nodes[0].clone(), node("logs-00", 0, Ready), nodes[1].clone(), node("logs-9", 0, Starting)];
    let more = more.map(|node| Node { holds: Holds::default(), ..node });
    let (_, grown) = next(&valid, &kept, &more, UnixMs(3), None);
    let names: Vec<String> = grown.as_ref().unwrap().slots.iter().map(|slot| slot.node.clone()).collect();
    assert_eq!((grown.unwrap().version, names), (2, ["logs-0", "logs-1", "logs-00"].map(str::to_owned).to_vec()));
}

#[test]
fn the_slot_of_a_lost_node_points_at_who_follows_it_until_it_is_back() {
    let (valid, mut kept) = (valid(&[], 1), kept(&["logs-0", "logs-1"]));
    let target = |map: &Option<Map>, slot: usize| map.as_ref().unwrap().slots[slot].target.clone();
    let lost = [node("logs-0", 0, Lost), node("logs-1", 0, Ready)];
    let (_, before) = next(&valid, &kept, &lost, UnixMs(1), None);
    assert_eq!(target(&before, 0), "logs-0", "it still owns a partition");
    kept.ledger.grant(Epoch(1), UnixMs(1), &[vec![Move { partition: 0, from: None, to: "logs-1".into() }]]).unwrap();
    let (ledger, map) = next(&valid, &kept, &lost, UnixMs(2), None);
    assert_eq!((target(&map, 0), ledger.holds()["logs-1"].stood_in), ("logs-1".to_owned(), 1));
    assert_eq!(map.as_ref().unwrap().slots[0].endpoint, "http://logs-1.logs-nodes.team.svc:9428");
    let kept = Kept::of(ledger, map);
    let silent = [node("logs-0", 0, Silent), node("logs-1", 0, Ready)];
    assert_eq!(target(&next(&valid, &kept, &silent, UnixMs(3), None).1, 0), "logs-1");
    let back = [node("logs-0", 0, Ready), node("logs-1", 0, Ready)];
    let (ledger, map) = next(&valid, &kept, &back, UnixMs(4), None);
    assert_eq!((target(&map, 0), ledger.holds()["logs-1"].stood_in), ("logs-0".to_owned(), 1), "what it took is still owed");
}

#[test]
fn one_whole_mirror_is_queried_and_never_both() {
    let valid = valid(&["a", "b"], 2);
    let mut ledger = Ledger::new(1, 2);
    let all = |ledger: &Ledger, states: [NodeState; 3]| {
        let nodes = [node("logs-a-0", 0, states[0]), node("logs-b-0", 1, states[1]), node("logs-b-1", 1, states[2])];
        queried(&valid, ledger, &nodes, &["before".to_owned()])
    };
    assert_eq!(all(&ledger, [Ready, Ready, Ready]), ["logs-a-0"]);
    assert_eq!(all(&ledger, [Lost, Ready, Silent]), ["logs-b-0", "logs-b-1"]);
    assert_eq!(all(&ledger, [Lost, Lost, Ready]), ["before"], "nobody is left of the first, and the second misses as much");
    assert_eq!(all(&ledger, [Starting, Starting, Starting]), ["before"]);
    ledger.point(UnixMs(1), "logs-a-0", Some("logs-a-1"));
    ledger.point(UnixMs(2), "logs-a-0", None);
    assert_eq!(all(&ledger, [Ready, Ready, Ready]), ["logs-b-0", "logs-b-1"], "the first has lost what it had not written yet");
}
