import msgspec

from voiceedge.protocol.usage import Usage


def test_totals_are_derived_and_every_figure_is_a_number():
    usage = Usage.counted(input_text=10, input_audio=5, cached_text=8, output_text=3, output_audio=4)
    assert msgspec.to_builtins(usage) == {
        "total_tokens": 22,
        "input_tokens": 15,
        "output_tokens": 7,
        "input_token_details": {
            "text_tokens": 10,
            "audio_tokens": 5,
            "image_tokens": 0,
            "cached_tokens": 8,
            "cached_tokens_details": {"text_tokens": 8, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": 3, "audio_tokens": 4},
    }
