from voiceedge.bench.environment import cpu_model, environment


def test_the_processor_is_named_as_it_names_itself(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: again\n")
    assert cpu_model(cpuinfo) == "Some CPU @ 2 GHz"


def test_a_system_that_does_not_tell_gets_its_architecture(tmp_path):
    assert cpu_model(tmp_path / "nowhere")


def test_what_a_figure_needs_beside_it_is_there():
    about = environment()
    assert about["cores"] >= 1
    assert {"voiceedge", "python", "websockets", "platform", "cpu"} <= about.keys()
