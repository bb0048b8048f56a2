//! Programs with one deliberate defect each: the simulator must notice every one.

use homeostat_sim::defects::Defect;
use homeostat_sim::mutations::hunt;
use homeostat_sim::plans::Baselines;
use homeostat_sim::run::spread;

#[test]
fn every_defect_is_noticed() {
    let hunts = spread(&Defect::ALL, |defect| hunt(*defect, &mut Baselines::default()));
    for (defect, caught) in Defect::ALL.into_iter().zip(hunts) {
        assert!(caught.expect("a runtime").is_some(), "{defect:?} was not noticed");
    }
}
