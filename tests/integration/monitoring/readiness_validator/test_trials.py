from monitoring.readiness_validator.scratch.running_trials import run_trials
from monitoring.readiness_validator.scratch.trial_settings import TrialSettings


def test_it(transactional_db: None) -> None:
    import time

    t = time.time()
    r = run_trials(TrialSettings())
    print(time.time() - t, r)
    assert not r.faults
