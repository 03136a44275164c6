"""What is counted is what the scrape shows, with the right types and labels."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sbc.observe.exposition import Exposition
from sbc.observe.metrics import SERIES_LIMIT, Family, Metrics


def scrape(metrics, failed=None):
    def refuse(name, error):
        raise AssertionError((name, error))

    text = Exposition(metrics, failed or refuse).text().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families, name, **labels):
    for family in families.values():
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


def test_the_interface_families_are_there_with_their_types_and_labels():
    metrics = Metrics()
    metrics.count_message("in", b"INVITE", b"UDP")
    metrics.count_message("in", b"INVITE", b"UDP")
    metrics.count_message("out", b"MAKEMONEYFAST", b"WSS")
    metrics.count_response(180)
    metrics.pushes.add("apns", "call", "accepted")
    metrics.push_seconds.observe(0.2)
    metrics.wake_seconds.observe(2.4)
    metrics.relay_packets.add(by=50)
    one_number = {"sbc_transactions": 7, "sbc_calls": 2, "sbc_waiting_requests": 1, "sbc_bans": 0}
    for name, number in one_number.items():
        metrics.watch(name, lambda number=number: number)
    metrics.watch("sbc_event_loop_lag_seconds", lambda: 0.003)
    metrics.watch("sbc_bindings", lambda: {("awake",): 3, ("asleep",): 9_999_997})
    metrics.watch("sbc_upper_registrations", lambda: {("pbx", "registered"): 4})
    metrics.watch("sbc_relay_streams", lambda: {("python",): 4})

    shown = scrape(metrics)

    assert value(shown, "sbc_sip_messages_total", direction="in", method="INVITE", transport="UDP") == 2
    assert value(shown, "sbc_sip_messages_total", direction="out", method="other", transport="WSS") == 1
    assert value(shown, "sbc_sip_responses_total", code="180") == 1
    assert value(shown, "sbc_pushes_total", provider="apns", type="call", result="accepted") == 1
    assert value(shown, "sbc_relay_packets_total") == 50
    assert value(shown, "sbc_bindings", state="asleep") == 9_999_997
    assert value(shown, "sbc_upper_registrations", upper="pbx", state="registered") == 4
    assert value(shown, "sbc_relay_streams", engine="python") == 4
    assert value(shown, "sbc_event_loop_lag_seconds") == 0.003
    for name, number in one_number.items():
        assert value(shown, name) == number
    assert shown["sbc_sip_messages"].type == "counter"
    assert shown["sbc_calls"].type == "gauge"
    assert shown["sbc_push_seconds"].type == "histogram"
    assert value(shown, "sbc_push_seconds_bucket", le="0.1") == 0
    assert value(shown, "sbc_push_seconds_bucket", le="0.2") == 1
    assert value(shown, "sbc_push_seconds_bucket", le="+Inf") == 1
    assert value(shown, "sbc_push_seconds_count") == 1
    assert value(shown, "sbc_wake_seconds_sum") == 2.4


def test_the_process_is_shown_too():
    assert value(scrape(Metrics()), "process_resident_memory_bytes") > 1_000_000


def test_label_values_cannot_break_the_text():
    metrics = Metrics()
    metrics.refused.add('said "\n" and \\')
    assert value(scrape(metrics), "sbc_sip_refused_total", reason='said "\n" and \\') == 1


def test_bytes_and_text_are_one_series():
    metrics = Metrics()
    metrics.watch("sbc_flows", lambda: {(b"UDP",): 1, ("UDP",): 2})
    assert value(scrape(metrics), "sbc_flows", transport="UDP") == 3


def test_a_gauge_without_a_source_is_absent_and_a_counter_starts_at_zero():
    shown = scrape(Metrics())
    assert "sbc_calls" not in shown
    assert value(shown, "sbc_relay_packets_total") == 0


def test_a_broken_gauge_leaves_the_others_and_is_told_in_the_same_scrape():
    metrics = Metrics()
    metrics.watch("sbc_calls", lambda: 1 / 0)
    metrics.watch("sbc_bindings", lambda: 5)  # needs a label
    metrics.watch("sbc_bans", lambda: 4)
    broken = []
    shown = scrape(metrics, lambda name, error: broken.append(name))
    assert "sbc_calls" not in shown
    assert value(shown, "sbc_bans") == 4
    assert value(shown, "sbc_metric_errors_total", metric="sbc_calls") == 1
    assert sorted(broken) == ["sbc_bindings", "sbc_calls"]


def test_series_are_bounded():
    metrics = Metrics()
    for number in range(SERIES_LIMIT + 50):
        metrics.refused.add(f"reason {number}")
    assert len(metrics.refused.values) == SERIES_LIMIT + 1
    assert metrics.refused.values[("other",)] == 50


def test_wrong_declarations_are_our_bug():
    metrics = Metrics()
    with pytest.raises(ValueError, match="twice"):
        metrics.declare(Family("sbc_calls", "gauge", ""))
    with pytest.raises(ValueError, match="_total"):
        metrics.declare(Family("sbc_things", "counter", ""))
    with pytest.raises(ValueError, match="labels"):
        metrics.pushes.add("apns")
    with pytest.raises(KeyError):
        metrics.watch("sbc_unheard_of", lambda: 1)
    with pytest.raises(ValueError, match="histogram"):
        metrics.watch("sbc_push_seconds", lambda: 1)
