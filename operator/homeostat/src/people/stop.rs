//! `homeostat stop` and `homeostat resume --kill-switch`: the kill switch of the whole cluster.

use super::{PeopleError, people};
use crate::args::StopArgs;

/// What releases it again.
const RELEASE: &str = "homeostat resume --kill-switch";
/// What shows what is left half done.
const HALF_DONE: &str = "homeostat pending";

/// Engages the kill switch, and says what follows.
///
/// # Errors
/// What the API server answered.
pub async fn stop(args: &StopArgs) -> Result<String, PeopleError> {
    let by = people().await?.stop(&args.reason).await?;
    Ok(stopped(by.as_deref()))
}

/// Releases the kill switch, and says so.
///
/// # Errors
/// What the API server answered.
pub async fn release() -> Result<String, PeopleError> {
    people().await?.release().await?;
    Ok("the kill switch is released: actions are possible again, each within its level".to_owned())
}

/// What people read once it is engaged. Pure.
fn stopped(by: Option<&str>) -> String {
    let who = match by {
        Some(by) => format!("by {by}"),
        None => "by nobody who is known: the API server did not say who you are".to_owned(),
    };
    format!(
        "every action in the cluster is stopped, {who}; watching and reporting go on\n\
         what is left half done: {HALF_DONE}\n\
         to go on: {RELEASE}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stops_everything_reads_by_whom_what_is_left_and_how_to_go_on() {
        let text = stopped(Some("ana"));
        assert!(text.contains("by ana") && text.contains(RELEASE) && text.contains(HALF_DONE), "{text}");
        assert!(stopped(None).contains("did not say who you are"));
    }
}
