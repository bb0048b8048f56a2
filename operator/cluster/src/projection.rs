//! Objects to records without a watch: for measuring what they cost, and for reading recorded lists.

use crate::watches::controllers::{self, Deployments, ReplicaSets};
use crate::watches::light::{Interner, Light};
use crate::watches::nodes::{self, NodeObject};
use crate::watches::pods::{self, PodObject};
use homeostat_knowledge::records::NodeRecord;
use homeostat_knowledge::{ControllerRecord, Name, PodRecord};

/// Reduces objects to records; equal names share one allocation.
#[derive(Debug, Default)]
pub struct Projector {
    names: Interner,
}

impl Projector {
    /// The record of a pod.
    ///
    /// # Errors
    /// What could not be read.
    pub fn pod(&mut self, json: &str) -> Result<PodRecord, String> {
        let light: Light<PodObject> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let key = light.key(&mut self.names);
        let version = Name::from(light.version());
        Ok(pods::record(&light.body?, key, version, &mut self.names))
    }

    /// The record of a node.
    ///
    /// # Errors
    /// What could not be read.
    pub fn node(&mut self, json: &str) -> Result<NodeRecord, String> {
        let light: Light<NodeObject> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        Ok(nodes::record(&light.body?, &mut self.names))
    }

    /// The record of a Deployment.
    ///
    /// # Errors
    /// What could not be read.
    pub fn deployment(&mut self, json: &str) -> Result<ControllerRecord, String> {
        self.controller::<Deployments>(json)
    }

    /// The record of a `ReplicaSet`.
    ///
    /// # Errors
    /// What could not be read.
    pub fn replica_set(&mut self, json: &str) -> Result<ControllerRecord, String> {
        self.controller::<ReplicaSets>(json)
    }

    fn controller<S: controllers::Sort>(&mut self, json: &str) -> Result<ControllerRecord, String> {
        let light: Light<controllers::ControllerObject<S>> =
            serde_json::from_str(json).map_err(|error| error.to_string())?;
        let key = light.key(&mut self.names);
        let version = Name::from(light.version());
        Ok(controllers::record(&light.body?, key, version, &mut self.names))
    }
}
