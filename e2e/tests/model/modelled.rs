//! The side of the simulator: its API server, asked through what the simulated executor asks it through.

use homeostat_execute::ports::{Field, FreshTarget, LedgerStoreError};
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::policy::Bounds;
use homeostat_knowledge::records::{ControllerKey, OwnerRecord, PodPhase, Work};
use homeostat_knowledge::{ActionRecord, ControllerKind, Name, ObjectKey, Timestamp, Uid};
use homeostat_sim::kubernetes;
use homeostat_sim::objects::{self, Budget, Controller, Node, OTHERS, Pod};
use homeostat_sim::server::{News, Refused, Server, Stream};
use homeostat_sim::situations::{self, EffectRequest, drive_bounds};

use super::asks::{Answer, Kubelet};
use super::things::{NAMESPACE, NODE, PARENT, PEOPLES, REPLICAS, Thing, action_line, pod_line};

/// What the pods belong to, so that the budget knows them.
const OWNER: &str = "pod";

/// The model.
pub struct Modelled {
    pub server: Server,
}

fn controller(kind: ControllerKind, name: &str) -> ControllerKey {
    objects::controller_key(kind, &ObjectKey::new(NAMESPACE, name))
}

/// What the autoscaler sizes: the model knows autoscalers by that.
fn sized() -> ControllerKey {
    objects::controller_key(ControllerKind::Deployment, &Thing::Autoscaler.key())
}

impl Modelled {
    pub fn new() -> Self {
        let mut server = Server::default();
        kubernetes::cron_by_hand(&mut server, &ObjectKey::new(NAMESPACE, PARENT));
        // So that there is a time before anything that is still known.
        server.compact();
        Self { server }
    }

    pub fn fresh(&self, thing: Thing) -> Option<FreshTarget> {
        self.server.read(&thing.named(), false)
    }

    fn change(&mut self, key: &ControllerKey, change: impl FnOnce(&mut Controller)) {
        if let Some(mut controller) = self.server.controllers.get(key).cloned() {
            change(&mut controller);
            self.server.put_controller(controller);
        }
    }

    pub fn create(&mut self, thing: Thing, now: Timestamp) {
        let server = &mut self.server;
        match thing {
            Thing::Pod(_) | Thing::Homeless => {
                let owner = OwnerRecord {
                    kind: ControllerKind::StatefulSet,
                    name: Name::from(OWNER),
                    uid: Uid::new(OWNER),
                };
                let uid = server.uid("pod");
                let mut record = objects::pod(thing.key(), uid, Name::from(""), owner, &Name::from("1"), now);
                (record.phase, record.ready) = (PodPhase::Pending, false);
                record.node = (thing != Thing::Homeless).then(|| Name::from(NODE));
                let requests = kubernetes::REQUESTS;
                server.put_pod(Pod { record, ailment: None, requests, set_by: None });
            }
            Thing::Deployment => {
                let key = thing.controller();
                kubernetes::deploy(server, &key.object, 0, now);
                kubernetes::roll_out(server, &key, |template| template.image = Name::from("v2"));
                self.change(&key, |deployment| deployment.record.replicas = REPLICAS);
            }
            Thing::CronJob => {
                kubernetes::cron_by_hand(server, &thing.key());
            }
            Thing::FailedRun | Thing::WaitingRun => {
                let parent = controller(ControllerKind::CronJob, PARENT);
                kubernetes::create_job(server, &parent, Some(thing.key().name));
                if thing == Thing::WaitingRun {
                    self.change(&thing.controller(), |job| {
                        job.record.paused = true;
                        job.record.work = Some(Box::new(Work { pods: 1, ..Work::default() }));
                    });
                }
            }
            Thing::Node => {
                let record = objects::node(NODE, server.uid("node"));
                server.put_node(Node { record, version: Name::from(""), ailment: None });
            }
            Thing::Autoscaler => {
                let uid = server.uid("autoscaler");
                server.put_autoscaler(objects::autoscaler(&thing.key(), uid, PEOPLES[0]));
            }
        }
    }

    pub fn delete(&mut self, thing: Thing, now: Timestamp) -> Answer {
        if self.fresh(thing).is_none() {
            return Answer::NotFound;
        }
        match thing {
            Thing::Pod(_) | Thing::Homeless => kubernetes::delete_pod(&mut self.server, &thing.key(), now),
            Thing::Deployment => {
                self.server.replica_sets.clear();
                self.server.remove_controller(&thing.controller());
            }
            Thing::CronJob | Thing::FailedRun | Thing::WaitingRun => {
                self.server.remove_controller(&thing.controller());
            }
            Thing::Node => self.server.remove_node(&thing.key().name),
            Thing::Autoscaler => {
                self.server.autoscalers.remove(&sized());
            }
        }
        Answer::Taken
    }

    pub fn kubelet(&mut self, thing: Thing, step: Kubelet) {
        let (phase, ready) = match step {
            Kubelet::Ready => (PodPhase::Running, true),
            Kubelet::NotReady => (PodPhase::Running, false),
            Kubelet::Succeeded => (PodPhase::Succeeded, false),
            Kubelet::Gone => {
                self.server.remove_pod(&thing.key());
                return;
            }
        };
        if let Some(mut pod) = self.server.pods.get(&thing.key()).cloned() {
            (pod.record.phase, pod.record.ready) = (phase, ready);
            self.server.put_pod(pod);
        }
    }

    /// Somebody sets what effects set too.
    pub fn set(&mut self, thing: Thing, number: u8) {
        match thing {
            Thing::Deployment => {
                let replicas = replicas(number);
                self.change(&thing.controller(), |deployment| {
                    if deployment.record.replicas != replicas {
                        deployment.record.generation += 1;
                        deployment.sized_by = objects::edit(Field::Replicas, OTHERS, None);
                    }
                    deployment.record.replicas = replicas;
                });
            }
            Thing::CronJob | Thing::FailedRun | Thing::WaitingRun => {
                self.change(&thing.controller(), |run| run.record.paused = flag(number));
            }
            Thing::Node => {
                if let Some(mut node) = self.server.nodes.get(NODE).cloned() {
                    node.record.cordoned = flag(number);
                    self.server.put_node(node);
                }
            }
            Thing::Autoscaler => {
                drive_bounds::set_by_others(&mut self.server, &sized(), bounds(number));
            }
            Thing::Pod(_) | Thing::Homeless => {}
        }
    }

    pub fn touch(&mut self, thing: Thing) {
        match thing {
            Thing::Pod(_) | Thing::Homeless => self.server.touch_pod(&thing.key()),
            Thing::Node => self.server.touch_node(&thing.key().name),
            Thing::Autoscaler => self.server.touch_autoscaler(&sized()),
            _ => self.server.touch_controller(&thing.controller()),
        }
    }

    pub fn budget(&mut self, minimum: Option<usize>) {
        let owner = controller(ControllerKind::StatefulSet, OWNER);
        let budget = minimum.map(|minimum| Budget { controller: owner, minimum });
        self.server.budgets = budget.into_iter().collect();
    }

    /// Sends an effect, or only tries it.
    pub fn effect(&mut self, request: &EffectRequest, dry_run: bool, now: Timestamp) -> Answer {
        let Some(situation) = situations::of(request.parameters.kind()) else {
            return Answer::Other("the model does not know this action".to_owned());
        };
        let checked = situation.check(&self.server, request);
        if dry_run {
            return Answer::of_dry_run(checked.map_err(Refused::of_dry_run));
        }
        if checked.is_ok() {
            situation.apply(&mut self.server, request, now);
        }
        Answer::of_effect(checked.map_err(Refused::of_effect))
    }

    /// As the ledger does: the object first, its state after.
    pub fn register(&mut self, record: &ActionRecord) -> Answer {
        let Ok(resource_version) = self.server.create_action(record) else { return Answer::Exists };
        self.store(&ActionRecord { resource_version, ..record.clone() })
    }

    pub fn store(&mut self, record: &ActionRecord) -> Answer {
        let stored = self.server.update_action(record);
        Answer::of_store(stored.map_err(|refused| match refused {
            Refused::NotFound => LedgerStoreError::NotFound,
            _ => LedgerStoreError::Conflict,
        }))
    }

    pub fn list(&self, stream: Stream) -> Answer {
        let mut lines: Vec<String> = self.server.list(stream).iter().filter_map(line).collect();
        lines.sort();
        Answer::Shows(lines)
    }

    pub fn watch(&self, stream: Stream, after: u64) -> Answer {
        match self.server.watch(stream, after) {
            None => Answer::Gone,
            Some(events) => Answer::Shows(events.iter().filter_map(|(_, news)| line(news)).collect()),
        }
    }
}

/// Replicas that somebody sets.
pub fn replicas(number: u8) -> i32 {
    REPLICAS + i32::from(number % 4)
}

/// Whether somebody suspends or cordons it, or lets it go.
pub fn flag(number: u8) -> bool {
    number % 2 == 1
}

/// Bounds that somebody sets.
pub fn bounds(number: u8) -> Bounds {
    PEOPLES[usize::from(number) % PEOPLES.len()]
}

fn line(news: &News) -> Option<String> {
    let News::Object(change) = news else { return None };
    match change {
        ObjectChange::Pod(Change::Applied(pod)) => {
            Some(pod_line(&pod.key.name, &format!("{:?}", pod.phase), pod.ready, pod.deleting))
        }
        ObjectChange::Action(Change::Applied(record)) => {
            Some(action_line(record.id.as_str(), &format!("{:?}", record.state)))
        }
        ObjectChange::Pod(Change::Deleted(key)) | ObjectChange::Action(Change::Deleted(key)) => {
            Some(format!("{} gone", key.name))
        }
        _ => None,
    }
}
