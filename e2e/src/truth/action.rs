//! What the harness's own watch delivered of Action objects.

use super::at::At;

/// The latest version of an Action object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionView {
    /// UID of the object.
    pub uid: String,
    /// Name of the object.
    pub name: String,
    /// `EvictPod`, `RollingRestart`, …
    pub action: String,
    /// Name of its Incident.
    pub incident: String,
    /// Target as shown to people: `Pod/order-6c-x`.
    pub target: String,
    /// Service that the target belongs to; `None` when it belongs to none of the application's.
    pub service: Option<String>,
    /// State in words.
    pub state: String,
    /// When the watch delivered the object first.
    pub seen: At,
    /// When the effect was sent; `None` while (or because) there is no effect.
    pub sent: Option<At>,
}

impl ActionView {
    /// It changed something in the cluster; telling people does not.
    pub fn has_effect(&self) -> bool {
        self.sent.is_some() && self.action != "Notify"
    }

    /// When it counts: at its effect.
    pub fn at(&self) -> At {
        self.sent.unwrap_or(self.seen)
    }
}
