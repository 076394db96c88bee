import yaml

from meshnb.cli import main


def test_prints_each_form(capsys):
    base = ["schedule", "503-no-cluster", "-p", "source=lab", "--every", "30m"]
    assert main(base) == 0
    assert "\n*/30 * * * * " in capsys.readouterr().out
    assert main([*base, "--for", "systemd"]) == 0
    assert "[Timer]" in capsys.readouterr().out
    assert main([*base, "--for", "kubernetes", "--image", "example/meshnb:1", "-n", "mesh"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["metadata"]["namespace"] == "mesh"


def test_s11_36_a_capture_is_scheduled_like_a_runbook(capsys):
    assert main(["schedule", "capture", "--every", "15m", "-p", "namespace=shop", "--out", "/srv/bundles"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert "capture --quiet --with prometheus --since 15m --namespace shop --out /srv/bundles/$(date" in line
    assert main(["schedule", "capture", "-p", "ports=yes"]) == 64
    assert "takes no 'ports'" in capsys.readouterr().err


def test_wrong_usage_exits_64(capsys):
    for wrong, said in (
        (["-p", "sorce=lab"], "did you mean 'source'?"),
        (["--every", "7m"], "does not divide"),
        (["--for", "kubernetes"], "needs an image"),
    ):
        assert main(["schedule", "503-no-cluster", *wrong]) == 64
        assert said in capsys.readouterr().err


def test_absolute_paths_are_printed_as_schedulers_know_no_other(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["schedule", "503-no-cluster", "--out", "here"])
    assert f"--out {tmp_path}/here/" in capsys.readouterr().out
