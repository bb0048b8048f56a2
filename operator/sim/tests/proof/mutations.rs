//! Programs with one deliberate defect each: the simulator must notice every one.

use homeostat_sim::defects::Defect;
use homeostat_sim::mutations::hunt;
use homeostat_sim::plans::Baselines;

#[test]
fn every_defect_is_noticed() {
    let mut baselines = Baselines::default();
    for defect in Defect::ALL {
        let caught = hunt(defect, &mut baselines).expect("a runtime");
        assert!(caught.is_some(), "{defect:?} was not noticed");
    }
}
