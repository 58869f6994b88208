import pytest

from segcore.errors import StepError
from segcore.store.disk import free_gb, require_free_space


def test_free_space_is_that_of_the_disk_a_missing_folder_would_be_on(tmp_path):
    assert free_gb(tmp_path / "not" / "yet") == pytest.approx(free_gb(tmp_path), rel=0.1)


def test_too_little_room_is_a_step_error_with_both_numbers_and_the_remedy(tmp_path):
    require_free_space(tmp_path, 0.0)
    with pytest.raises(StepError, match=r"must have 1e\+09 GB free .* has \d+\.\d\d GB; make room"):
        require_free_space(tmp_path, 1e9)
