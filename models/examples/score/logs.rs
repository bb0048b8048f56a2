//! Loghub samples: one raw log per system in, `line,cluster,template` out.

use std::io::{Read, Write};
use std::path::Path;

use homeostat_models::logs::{Miner, MinerConfig};

use crate::data::{Error, at, create, files, line, open, stem};

/// Reads `<system>.log.gz` line by line; a line's id is the one given when it is read, the text is the last one.
pub fn run(data: &Path, dump: &Path) -> Result<usize, Error> {
    let logs = files(data, ".log.gz")?;
    for path in &logs {
        let mut content = Vec::new();
        open(path)?.read_to_end(&mut content).map_err(at(path))?;
        let mut miner = Miner::new(MinerConfig::default())
            .map_err(|error| Error::Content { path: path.clone(), message: error.to_string() })?;
        let content = content.strip_suffix(b"\n").unwrap_or(&content);
        // The line end of some systems' files is CR LF.
        let lines = content.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let ids: Vec<u64> = lines.map(|line| miner.push(line).id).collect();
        let to = dump.join(format!("{}.csv", stem(path)));
        let mut out = create(&to)?;
        line(&mut out, &to, format_args!("line,cluster,template"))?;
        for (number, id) in ids.iter().enumerate() {
            let template = miner.template(*id).unwrap_or_default().replace('"', "\"\"");
            line(&mut out, &to, format_args!("{number},{id},\"{template}\""))?;
        }
        out.flush().map_err(at(&to))?;
    }
    Ok(logs.len())
}
