//! A cluster in which objects come, change and go all the time and nothing is wrong, in virtual time, and what the loop makes
//! of it.
//!
//! What changes is drawn: pods are replaced, releases are rolled out, Deployments get another size, nodes are closed for ten
//! minutes, and every node says each five minutes that it lives. A pod is ready 18 s after it was made at the latest, so none
//! of it is a fault, rollouts included. The loop is the product's own, and each generation is published as the binary does.

use crate::cluster::{Cluster, Pod, START, app, at};
use crate::noise::Noise;
use crate::objects::Stage;
use homeostat::board::Board;
use homeostat::kernel::{Effect, Kernel};
use homeostat_knowledge::{
    FindingKind, IncidentId, Name, Observation, SeededIds, SnapshotSource, Step as PlanStep,
};
use std::collections::{BTreeMap, BTreeSet};

/// Objects that one look of the loop takes at the start, as in the binary.
const AT_ONCE: usize = 2_048;
/// Seconds after which a kubelet tells of its node although nothing changed.
const BEAT: usize = 300;
/// Seconds for which a node is closed.
const CLOSED: i64 = 600;
/// Draws in one step: where nearly all is under way, less changes than should.
const MOST_DRAWS: usize = 1_000;

/// How large the cluster is, how much of it changes, and how often the loop looks.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub workloads: usize,
    pub nodes: usize,
    /// Objects that change in a second, on average.
    pub changes: f64,
    /// Seconds from one look to the next.
    pub step: usize,
}

impl Size {
    /// As 500 nodes and 20 changes a second are to 10,000 workloads.
    pub fn of(workloads: usize, step: usize) -> Self {
        Self { workloads, nodes: (workloads / 20).max(3), changes: workloads as f64 / 500.0, step }
    }
}

/// What came out of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Objects that were made, changed or went.
    pub changes: u64,
    pub rollouts: u64,
    pub replaced: u64,
    pub resized: u64,
    /// Incidents: seconds since the start, workload, kind.
    pub incidents: Vec<(i64, String, FindingKind)>,
    /// Plans that were admitted, those that only tell people too.
    pub plans: Vec<String>,
}

/// What happens to one object.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A node says that it lives.
    Beat(usize),
    /// A node is closed or opened.
    Closed(usize, bool),
    /// A Deployment gets a new release.
    Released(usize),
    /// A Deployment gets another size.
    Sized(usize, usize),
    /// The status of a Deployment is written.
    Deployment(usize),
    /// The `ReplicaSet` of a release is made or written.
    Set(usize, u32),
    /// The `ReplicaSet` of a release is deleted.
    Forgotten(usize, u32),
    /// A pod gets so far.
    Pod(usize, u64, Stage),
    /// Nothing is under way in a workload any more.
    Free(usize),
}

/// The cluster and the loop that watches it.
pub struct World {
    kernel: Kernel,
    board: Board,
    cluster: Cluster,
    noise: Noise,
    size: Size,
    now: i64,
    /// Changes that have happened or are sure to.
    begun: u64,
    due: BTreeMap<(i64, u64), Event>,
    planned: u64,
    seen: BTreeSet<IncidentId>,
    pub outcome: Outcome,
}

impl World {
    /// A cluster of this size, of which the loop has just read all lists.
    pub fn new(size: Size, seed: u64) -> Self {
        let kernel = Kernel::new(
            homeostat_playbooks::shipped(),
            Box::new(SeededIds::new(seed)),
            Name::from("homeostat-system"),
        );
        let mut noise = Noise::new(seed);
        let (cluster, lists) = Cluster::new(size.workloads, size.nodes, &mut noise);
        let mut world = Self {
            kernel,
            board: Board::default(),
            cluster,
            noise,
            size,
            now: START,
            begun: 0,
            due: BTreeMap::new(),
            planned: 0,
            seen: BTreeSet::new(),
            outcome: Outcome::default(),
        };
        for part in lists.chunks(AT_ONCE) {
            world.look(part);
        }
        // The first look at all of it: whose each pod is.
        world.now += 1;
        world.look(&[]);
        for node in 0..size.nodes {
            // Not all at the same time.
            let first = START + 1 + world.seconds(BEAT);
            world.plan(first, Event::Beat(node));
        }
        world
    }

    /// Lets one step pass: what the watches tell of it.
    pub fn changes(&mut self) -> Vec<Observation> {
        self.now += self.size.step as i64;
        self.begin();
        let mut batch = Vec::new();
        while let Some((second, event)) = self.next_due() {
            batch.extend(self.happen(event, second));
        }
        self.outcome.changes += batch.len() as u64;
        batch
    }

    /// One look of the loop at what the watches told.
    pub fn look(&mut self, batch: &[Observation]) {
        let effects = self.kernel.step(batch, at(self.now), true);
        self.board.publish(self.kernel.snapshot().clone());
        for effect in effects {
            match effect {
                Effect::Said(..) | Effect::Held(..) => {}
                Effect::Write(incident) => {
                    if self.seen.insert(incident.id.clone()) {
                        let kind = incident.top_cause().map_or(FindingKind::NoData, |cause| cause.kind);
                        let workload = incident.workload.as_ref().map(|key| key.name.to_string());
                        let since = self.now - START;
                        self.outcome.incidents.push((since, workload.unwrap_or_default(), kind));
                    }
                }
                Effect::Execute(plan, _) => {
                    let words = |step: &PlanStep| format!("{} {}", step.parameters.kind(), step.target.key);
                    self.outcome.plans.extend(plan.steps.iter().map(words));
                }
            }
        }
    }

    /// Pods that there are, and pods that the published snapshot has.
    pub fn pods(&self) -> (usize, usize) {
        (self.cluster.pods(), self.board.current().pods.size())
    }

    /// A pod of a workload at rest is not ready any more and stays so; the workload's name.
    pub fn sicken(&mut self) -> String {
        let workloads = &mut self.cluster.workloads;
        let index = workloads.iter().position(|workload| !workload.busy).expect("one at rest");
        workloads[index].busy = true;
        let number = workloads[index].pods[0].number;
        self.plan(self.now + 1, Event::Pod(index, number, Stage::Started));
        app(index)
    }

    fn draw(&mut self, below: usize) -> usize {
        (self.noise.bits() % below as u64) as usize
    }

    fn seconds(&mut self, below: usize) -> i64 {
        self.draw(below) as i64
    }

    fn plan(&mut self, second: i64, event: Event) {
        self.begun += u64::from(!matches!(event, Event::Beat(_) | Event::Free(_)));
        self.planned += 1;
        self.due.insert((second, self.planned), event);
    }

    fn next_due(&mut self) -> Option<(i64, Event)> {
        let next = self.due.first_entry()?;
        let second = next.key().0;
        (second <= self.now).then(|| (second, next.remove()))
    }

    /// Begins as much as it takes for so many changes on average.
    fn begin(&mut self) {
        let wanted = self.size.changes * (self.now - START) as f64;
        let (count, step) = (self.cluster.workloads.len(), self.size.step);
        for _ in 0..MOST_DRAWS {
            if self.begun as f64 >= wanted {
                return;
            }
            let second = self.now - self.seconds(step);
            let part = self.noise.uniform();
            if part < 0.01 {
                self.close(second);
                continue;
            }
            let index = self.draw(count);
            if std::mem::replace(&mut self.cluster.workloads[index].busy, true) {
                continue;
            }
            let end = if part < 0.2 {
                self.roll(index, second)
            } else if part < 0.6 {
                self.replace(index, second)
            } else {
                self.resize(index, second)
            };
            self.plan(end + 1, Event::Free(index));
        }
    }

    /// A node is closed for a while; what runs there stays.
    fn close(&mut self, second: i64) {
        let node = self.draw(self.size.nodes);
        if !self.cluster.nodes[node] {
            self.plan(second, Event::Closed(node, true));
            self.plan(second + CLOSED, Event::Closed(node, false));
        }
    }

    fn numbers(&self, index: usize) -> Vec<u64> {
        self.cluster.workloads[index].pods.iter().map(|pod| pod.number).collect()
    }

    /// A new release, one pod after another, each new one ready before an old one goes. Of the earlier ones one `ReplicaSet`
    /// stays.
    fn roll(&mut self, index: usize, second: i64) -> i64 {
        self.outcome.rollouts += 1;
        let before = self.cluster.workloads[index].release;
        self.plan(second, Event::Released(index));
        self.plan(second, Event::Set(index, before + 1));
        let (mut begins, mut end) = (second, second);
        for number in self.numbers(index) {
            let ready = self.start(index, begins);
            end = end.max(self.end(index, number, ready));
            self.plan(ready, Event::Set(index, before + 1));
            self.plan(ready, Event::Set(index, before));
            self.plan(ready, Event::Deployment(index));
            begins = ready + 1;
        }
        self.plan(end, Event::Forgotten(index, before - 1));
        self.plan(end, Event::Deployment(index));
        end
    }

    /// A pod goes, and another one comes.
    fn replace(&mut self, index: usize, second: i64) -> i64 {
        self.outcome.replaced += 1;
        let numbers = self.numbers(index);
        let number = numbers[self.draw(numbers.len())];
        let gone = self.end(index, number, second);
        let ready = self.start(index, second);
        self.settle(index, [second, ready]);
        gone.max(ready)
    }

    /// Another one of two, three and four pods.
    fn resize(&mut self, index: usize, second: i64) -> i64 {
        self.outcome.resized += 1;
        let numbers = self.numbers(index);
        let others: Vec<usize> = (2..=4).filter(|size| *size != numbers.len()).collect();
        let wanted = others[self.draw(others.len())];
        self.plan(second, Event::Sized(index, wanted));
        let mut end = second + 1;
        for _ in numbers.len()..wanted {
            end = end.max(self.start(index, second + 1));
        }
        for number in numbers.into_iter().skip(wanted) {
            end = end.max(self.end(index, number, second + 1));
        }
        self.settle(index, [second + 1, end]);
        end
    }

    /// The controllers write what there is, once at each of these times.
    fn settle(&mut self, index: usize, seconds: [i64; 2]) {
        let release = self.cluster.workloads[index].release;
        for second in seconds {
            self.plan(second, Event::Set(index, release));
            self.plan(second, Event::Deployment(index));
        }
    }

    /// A new pod; when it is ready.
    fn start(&mut self, index: usize, second: i64) -> i64 {
        let number = self.cluster.new_pod();
        let placed = second + 1;
        let started = placed + 1 + self.seconds(5);
        let ready = started + 1 + self.seconds(12);
        let stages = [Stage::Made, Stage::Placed, Stage::Started, Stage::Ready];
        for (second, stage) in [second, placed, started, ready].into_iter().zip(stages) {
            self.plan(second, Event::Pod(index, number, stage));
        }
        ready
    }

    /// A pod is deleted; when it is gone.
    fn end(&mut self, index: usize, number: u64, second: i64) -> i64 {
        let gone = second + 1 + self.seconds(20);
        self.plan(second, Event::Pod(index, number, Stage::Ending));
        self.plan(gone, Event::Pod(index, number, Stage::Gone));
        gone
    }

    fn happen(&mut self, event: Event, second: i64) -> Option<Observation> {
        let cluster = &mut self.cluster;
        Some(match event {
            Event::Beat(node) => {
                let told = cluster.node(node, second);
                self.begun += 1;
                self.plan(second + BEAT as i64, event);
                told
            }
            Event::Closed(node, closed) => {
                cluster.nodes[node] = closed;
                cluster.node(node, second)
            }
            Event::Released(index) => {
                cluster.workloads[index].release += 1;
                cluster.workloads[index].generation += 1;
                cluster.deployment(index, second)
            }
            Event::Sized(index, wanted) => {
                cluster.workloads[index].wanted = wanted;
                cluster.workloads[index].generation += 1;
                cluster.deployment(index, second)
            }
            Event::Deployment(index) => {
                cluster.workloads[index].seen = cluster.workloads[index].generation;
                cluster.deployment(index, second)
            }
            Event::Set(index, release) => cluster.set(index, release, second),
            Event::Forgotten(index, release) => cluster.forgotten(index, release, second),
            Event::Pod(index, number, stage) => self.pod(index, number, stage, second),
            Event::Free(index) => {
                cluster.workloads[index].busy = false;
                return None;
            }
        })
    }

    /// A pod gets to this stage.
    fn pod(&mut self, index: usize, number: u64, stage: Stage, second: i64) -> Observation {
        let node = (stage == Stage::Placed).then(|| self.open_node());
        let workload = &mut self.cluster.workloads[index];
        if stage == Stage::Made {
            let (release, made) = (workload.release, second);
            workload.pods.push(Pod { number, release, stage, node, made, started: None, ending: None });
        }
        let place = workload.pods.iter().position(|pod| pod.number == number).expect("it is there");
        let pod = &mut workload.pods[place];
        pod.stage = stage;
        match stage {
            Stage::Placed => pod.node = node,
            Stage::Started => pod.started = pod.started.or(Some(second)),
            Stage::Ending => pod.ending = Some(second),
            Stage::Made | Stage::Ready | Stage::Gone => {}
        }
        let pod = *pod;
        if stage == Stage::Gone {
            workload.pods.remove(place);
        }
        self.cluster.pod(index, &pod, second)
    }

    /// A node that takes pods.
    fn open_node(&mut self) -> usize {
        let count = self.size.nodes;
        let drawn = self.draw(count);
        let open = (drawn..count).chain(0..drawn).find(|node| !self.cluster.nodes[*node]);
        open.unwrap_or(drawn)
    }
}
