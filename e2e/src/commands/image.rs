//! `e2e image …`

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use homeostat_e2e::cluster::Cluster;
use homeostat_e2e::image::{self, Content, ImageSpec};

use super::cluster::Named;
use super::{Outcome, runtime};

/// What to do with images.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an image of one program with the shared libraries that it needs.
    Build {
        /// The image's name with a tag.
        #[arg(long)]
        tag: String,
        /// The program.
        #[arg(long)]
        program: PathBuf,
        /// Further files: where in the image, and from which file.
        #[arg(long = "file", value_name = "PATH=FILE")]
        files: Vec<String>,
        /// Environment: NAME=VALUE.
        #[arg(long = "env", value_name = "NAME=VALUE")]
        env: Vec<String>,
        /// Labels: NAME=VALUE.
        #[arg(long = "label", value_name = "NAME=VALUE")]
        labels: Vec<String>,
        /// Numeric user and group.
        #[arg(long, default_value = image::NON_ROOT)]
        user: String,
        /// The tar file to write.
        #[arg(long)]
        output: PathBuf,
    },
    /// Make images available to a cluster's pods.
    Load {
        #[command(flatten)]
        cluster: Named,
        /// Tar files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// Runs one subcommand.
pub fn run(command: Command) -> Outcome {
    match command {
        Command::Build { tag, program, files, env, labels, user, output } => {
            let mut spec = ImageSpec { user, ..ImageSpec::program(&tag, &program)? };
            for file in &files {
                let (path, from) = pair(file)?;
                let mode = std::fs::metadata(&from)?.permissions().mode() & 0o755;
                spec = spec.with_file(&path, Content::Path(from.into()), mode);
            }
            spec.env = env.iter().map(|text| pair(text)).collect::<Result<_, _>>()?;
            spec.labels = labels.iter().map(|text| pair(text)).collect::<Result<_, _>>()?;
            println!("{} {}", image::build(&spec, &output)?, output.display());
        }
        Command::Load { cluster, files } => {
            let cluster = Cluster::attach(&cluster.name)?;
            let runtime = runtime()?;
            for file in files {
                let started = std::time::Instant::now();
                runtime.block_on(cluster.load_image(&file))?;
                println!("{} loaded in {:.1} s", file.display(), started.elapsed().as_secs_f64());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` is not NAME=VALUE"))
}
