//! Faults of a pod's network, inside its own namespace: whatever replaces the pod has a good network again.

use std::path::Path;

use tokio::process::Command;

use super::container::{elsewhere, first_process};
use crate::cluster::layout::NODE_IP;
use crate::demo::DemoError;
use crate::demo::column::Stage;
use crate::demo::platform::run;
use crate::faults::World;
use crate::truth::At;

/// Which.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// Names are not resolved, and what was connected is cut.
    NoNames,
    /// A slow link.
    Slow,
    /// Some packets are lost.
    Loss,
    /// No packet passes.
    Nothing,
}

/// The callee whose calls come late. It has one caller, the gateway, so that the delay is between two services although
/// it is in the network of one pod: who replaces that pod ends it, and who replaces the caller does not.
pub const DELAYED: &str = "order";
/// Where it serves.
const PORT: u16 = 8080;
/// Each way, as late as answers of the fault `slow`.
const DELAY_MILLISECONDS: u64 = 2000;
/// An end in any case, should nobody take it off.
const DELAY_SECONDS: u64 = 300;

/// Does it to the pod that serves.
pub async fn inject(stage: &Stage, world: &World, what: What, service: &str) -> Result<At, DemoError> {
    let pod = world.serving(service).await?;
    let pid = first_process(stage, &pod).await?;
    let commands: &[&str] = match what {
        What::NoNames => &[
            "iptables -A OUTPUT -p udp --dport 53 -j DROP",
            "iptables -A OUTPUT -p tcp --dport 53 -j DROP",
            // Of the pod's own calls those that are open: the next ones need a name.
            "iptables -A OUTPUT -p tcp --dport 8080 -m conntrack --ctstate ESTABLISHED -j REJECT --reject-with tcp-reset",
        ],
        What::Slow => &["tc qdisc add dev eth0 root tbf rate 40kbit burst 2kb latency 4s"],
        What::Loss => &[
            "iptables -A INPUT -m statistic --mode random --probability 0.1 -j DROP",
            "iptables -A OUTPUT -m statistic --mode random --probability 0.1 -j DROP",
        ],
        What::Nothing => &["iptables -A INPUT -i eth0 -j DROP", "iptables -A OUTPUT -o eth0 -j DROP"],
    };
    let path = stage.platform.own().ok_or_else(elsewhere)?.tools().search_path();
    let at = At::now();
    for line in commands {
        let mut command = Command::new("nsenter");
        command.env("PATH", &path);
        command.args(["--target", &pid.to_string(), "--net", "--"]).args(line.split(' '));
        run(command, None).await?;
    }
    Ok(at)
}

/// Lets calls to the pod that serves come late, until the world's helper is ended.
pub async fn delay(stage: &Stage, world: &World, service: &str) -> Result<At, DemoError> {
    let pod = world.serving(service).await?;
    let pid = first_process(stage, &pod).await?;
    let path = stage.platform.own().ok_or_else(elsewhere)?.tools().search_path();
    let program = crate::program::path().map_err(DemoError::io("find", Path::new("this program")))?;
    let mut command = Command::new("nsenter");
    command.env("PATH", path);
    command.args(["--target", &pid.to_string(), "--net", "--"]).arg(program);
    command.args(["delay", "--port", &PORT.to_string(), "--except", &NODE_IP.to_string()]);
    command.args([
        "--milliseconds",
        &DELAY_MILLISECONDS.to_string(),
        "--seconds",
        &DELAY_SECONDS.to_string(),
    ]);
    let began = world.helper.start(command).await?;
    began.parse().map(At).map_err(|error| {
        DemoError::Broken(format!("the delay began at `{began}`, which is no time: {error}"))
    })
}
