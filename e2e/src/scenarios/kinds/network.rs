//! Faults of a pod's network, inside its own namespace: whatever replaces the pod has a good network again.

use tokio::process::Command;

use super::container::{elsewhere, first_process};
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
