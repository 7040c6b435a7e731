import pytest
from matplotlib.image import imread
from run_directory import write_run

from r1core import comparison_plot
from r1core.comparison_plot import compare_stages


def test_a_picture_has_one_curve_for_each_stage(tmp_path, monkeypatch):
    directory = write_run(tmp_path / "run", stages=("grpo", "ppo", "other"))
    drawn = []

    class Spied(comparison_plot.Figure):
        def savefig(self, path, **settings):
            [axes] = self.axes
            drawn.extend((line.get_label(), list(line.get_xdata())) for line in axes.lines)
            assert axes.get_ylim() == (-0.03, 1.03)
            super().savefig(path, **settings)

    monkeypatch.setattr(comparison_plot, "Figure", Spied)
    path = directory / "comparison.png"
    assert compare_stages(directory, ["ppo", "grpo"], "eval/pass@1", path) == path
    steps = list(range(0, 61, 10))
    assert drawn == [("ppo", steps), ("grpo", steps)]
    assert min(imread(path).shape[:2]) > 300


def test_a_metric_that_nobody_logged_leaves_no_picture(tmp_path):
    directory = write_run(tmp_path / "run", stages=("grpo",))
    assert compare_stages(directory, ["grpo"], "nothing", directory / "x.png") is None
    assert not (directory / "x.png").exists()


def test_an_unknown_stage_is_named(tmp_path):
    directory = write_run(tmp_path / "run", stages=("grpo", "ppo"))
    with pytest.raises(ValueError, match="which has grpo, ppo; got 'grpa'"):
        compare_stages(directory, ["grpa"], "reward", directory / "x.png")
