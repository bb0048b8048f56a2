//! Any bytes, split at line feeds, are mined within bounds; a saved and restored miner goes on in the same way.
#![no_main]

use homeostat_models::logs::{FoldConfig, Folder, Miner, MinerConfig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let config = MinerConfig { max_clusters: 8, max_siblings: 3, remembered_shapes: 16, max_line_bytes: 128, max_words: 8, ..MinerConfig::default() };
    let mut miner = Miner::new(config).unwrap();
    let mut folder = Folder::new(FoldConfig { max_lines: 4, max_bytes: 256 }).unwrap();
    let lines: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
    let mut twin: Option<Miner> = None;
    for (at, line) in lines.iter().enumerate() {
        if at == lines.len() / 2 {
            twin = Some(serde_json::from_slice(&serde_json::to_vec(&miner).unwrap()).unwrap());
        }
        let mined = miner.push(line);
        assert!(miner.len() <= 8 && mined.message <= line.len());
        assert!(miner.template(mined.id).is_some());
        if let Some(twin) = &mut twin {
            assert_eq!(twin.push(line), mined);
        }
        if let Some(record) = folder.push(line) {
            assert!(record.text.len() <= 256);
        }
    }
});
