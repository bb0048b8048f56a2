//! Creates objects that do not exist yet, and never touches existing ones.

use crate::client::call;
use crate::error::{ClusterError, chain};
use homeostat_crds::v1alpha1::ControlPlane;
use homeostat_knowledge::Name;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};

/// Creates the `ControlPlane` in `text` (one YAML document) unless it exists. Returns one line per object for people.
///
/// # Errors
/// [`ClusterError::Invalid`] when the text is no `ControlPlane`; otherwise what the API server answered.
pub async fn create_missing(client: Client, text: &str) -> Result<Vec<String>, ClusterError> {
    let object: ControlPlane = serde_saphyr::from_str(text).map_err(|error| ClusterError::Invalid {
        object: Name::from("ControlPlane"),
        message: format!("the file holds no ControlPlane: {}", chain(&error)),
    })?;
    let name = object.name_any();
    let label = Name::from(format!("ControlPlane {name}"));
    let api: Api<ControlPlane> = Api::all(client);
    if call("get", &label, api.get_opt(&name)).await?.is_some() {
        return Ok(vec![format!("{label} exists and stays as it is")]);
    }
    match call("create", &label, api.create(&PostParams::default(), &object)).await {
        Ok(_) => Ok(vec![format!("{label} created")]),
        // Somebody was faster; theirs counts.
        Err(ClusterError::Exists { .. }) => Ok(vec![format!("{label} exists and stays as it is")]),
        Err(error) => Err(error),
    }
}
