"""The page's sound and lips without a server: jitter buffer, low-pass, lips and eyelids, run in a real Chromium."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import Page

from tests.chat_page import chat_page

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

RATE = 24_000
MS = RATE // 1000
BLOCK = 128

_PRELUDE = """async (given) => {
    const {JitterBuffer} = await import('/js/sound/jitter_buffer.js');
    const {LowPass} = await import('/js/sound/low_pass.js');
    const {Lips} = await import('/js/puppet/lips.js');
    const {Blinks} = await import('/js/puppet/blinks.js');
    const {Sway} = await import('/js/puppet/sway.js');
    const dice = seed => () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 4294967296;
    /* Arrivals [ms, piece] in time order; what the loudspeaker gets until `end` ms; `at`: things to do at a time. */
    const play = (arrivals, end, at = []) => {
        const buffer = new JitterBuffer(24000), out = new Float32Array(end * 24), block = new Float32Array(128);
        let next = 0, todo = 0, delays = [];
        for (let now = 0; now + 128 <= out.length; now += 128) {
            while (next < arrivals.length && arrivals[next][0] * 24 <= now) buffer.push(arrivals[next++][1], now);
            while (todo < at.length && at[todo][0] * 24 <= now) at[todo++][1](buffer, now);
            buffer.pull(block, now);
            out.set(block, now);
            if (now % (24 * 1024) < 128) delays.push(buffer.figures(now).delay_ms);
        }
        return {out, buffer, delays, figures: buffer.figures(out.length)};
    };
    /* `count` pieces of `step` ms: a tone that never stops, so that silence is what is missing. */
    const speech = (reply, count, step, from = 0) => Array.from({length: count}, (_, index) => ({
        reply, at: (from + index * step) * 24,
        samples: Int16Array.from({length: step * 24}, (_, n) => 9000 + 3000 * Math.sin((index * step * 24 + n) / 9)),
    }));
    const quiet = (out, from, to) => out.subarray(from * 24, to * 24).every(value => Math.abs(value) < 0.02);
    /* ms at which sound begins and ends, of each stretch */
    const stretches = out => {
        const found = [];
        for (let ms = 0; ms * 24 < out.length; ms++) {
            const sounds = Math.abs(out[ms * 24]) > 0.1;
            if (sounds && !(found.at(-1)?.[1] === null)) found.push([ms, null]);
            if (!sounds && found.at(-1)?.[1] === null) found.at(-1)[1] = ms;
        }
        return found;
    };
"""


async def run(page: Page, code: str, given: object = None) -> Any:
    """Run code that returns something, with the modules at hand."""
    return await page.evaluate(_PRELUDE + code + "}", given)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page() -> AsyncIterator[Page]:
    async with chat_page() as opened:
        yield opened


_JITTERED = """
    const {jitter, burst, seed, replies, seconds} = given;
    const random = dice(seed), arrivals = [];
    let begin = 500;
    for (let number = 0; number < replies; number++) {
        let last = 0;
        for (const piece of speech('r' + number, seconds * 1000 / 60, 60)) {
            const due = begin + Math.max(0, piece.at / 24 - burst) + jitter * 2 * random();
            arrivals.push([last = Math.max(due, last), piece]);
        }
        begin += seconds * 1000 + 500;
    }
    arrivals.sort(([one], [other]) => one - other);
    const {figures, delays, out} = play(arrivals, begin + 1000);
    return {...figures, delays, stretches: stretches(out).length};
"""


async def test_h3_ten_minutes_of_jitter_of_80_ms_leave_no_gap(page: Page) -> None:
    given = {"jitter": 80, "burst": 0, "seed": 3, "replies": 100, "seconds": 6}
    found = await run(page, _JITTERED, given)
    assert (found["gaps"], found["gap_ms"], found["late"]) == (0, 0, 0)
    assert found["played_ms"] == 600_000
    assert found["stretches"] == 100, "each reply is one sound"
    assert 100 < found["jitter_ms"] <= 160
    assert max(found["delays"]) <= 300


@pytest.mark.parametrize(
    ("jitter", "burst", "least", "most"), [(0, 0, 60, 60), (10, 0, 60, 60), (20, 500, 60, 80), (300, 0, 300, 300)]
)
async def test_h3_the_delay_is_what_the_network_needs(
    page: Page, jitter: int, burst: int, least: int, most: int
) -> None:
    given = {"jitter": jitter, "burst": burst, "seed": 1, "replies": 20, "seconds": 6}
    found = await run(page, _JITTERED, given)
    assert least <= found["delay_ms"] <= most
    assert all(60 <= delay <= 300 for delay in found["delays"])
    assert found["delays"][0] == 160, "of the first reply nothing is known"
    if jitter < 300:
        assert found["gaps"] == 0


async def test_h3_what_is_played_is_what_came_each_at_its_place(page: Page) -> None:
    found = await run(
        page,
        """
        const pieces = [...speech('r1', 10, 60), ...speech('r1', 10, 20, 1000)];
        const {out, figures} = play(pieces.map(piece => [100 + Math.max(0, piece.at / 24 - 500), piece]), 3000);
        const start = 100 + 160, at = Math.ceil((100 * 24) / 128) * 128 + 160 * 24;
        let worst = 0;
        for (const piece of pieces) piece.samples.forEach((sample, index) => {
            worst = Math.max(worst, Math.abs(out[at + piece.at + index] - sample / 32768));
        });
        return {worst, stretches: stretches(out), figures, pause: quiet(out, start + 610, start + 990)};
        """,
    )
    assert found["worst"] < 1e-6
    assert found["pause"], "the reply's own pause is silence, and no gap"
    assert found["figures"]["gaps"] == 0
    assert len(found["stretches"]) == 2


async def test_h3_a_gap_is_counted_where_sound_was_due_and_the_rest_is_not_lost(page: Page) -> None:
    found = await run(
        page,
        """
        const late = (at) => 100 + at + (at >= 1200 ? 400 : 0);
        const {out, figures} = play(speech('r1', 50, 60).map(piece => [late(piece.at / 24), piece]), 5000);
        return {figures, stretches: stretches(out)};
        """,
    )
    assert found["figures"]["gaps"] == 1
    assert 200 < found["figures"]["gap_ms"] < 320
    assert found["figures"]["played_ms"] == 3000, "all of it is heard"
    assert len(found["stretches"]) == 2
    lost = await run(
        page,
        """
        const pieces = speech('r1', 20, 60).map((piece, index) => ({...piece, seq: index + 1}));
        pieces.splice(8, 2);
        const {figures} = play(pieces.map(piece => [100 + piece.at / 24, piece]), 3000);
        return figures;
        """,
    )
    assert lost["lost"] == 2


async def test_h3_in_quiet_moments_it_stores_up_what_the_network_needs(page: Page) -> None:
    found = await run(
        page,
        """
        const random = dice(5), pieces = speech('r1', 400, 60);
        pieces.forEach((piece, index) => { if (index % 10 === 9) piece.samples.fill(0); });
        let last = 0; // the first piece is the earliest of all: what it waits for is too little for the others
        const arrivals = pieces.map((piece, index) => {
            last = Math.max(last, 100 + piece.at / 24 + (index === 0 ? 0 : 220 * random()));
            return [last, piece];
        });
        const {figures} = play(arrivals, 26000);
        return figures;
        """,
    )
    assert found["stretched_ms"] > 30
    assert found["gaps"] <= 2
    assert found["played_ms"] == 24_000


async def test_h3_replies_follow_each_other_and_never_overlap(page: Page) -> None:
    found = await run(
        page,
        """
        const all = (reply, ms) => speech(reply, 10, 60).map(piece => [ms, piece]);
        const arrivals = [...all('r1', 100), ...all('r2', 150)];
        const {out, figures, buffer} = play(arrivals, 2500);
        return {stretches: stretches(out), most: Math.max(...out), figures, lines: buffer.lines.length};
        """,
    )
    assert found["figures"]["played_ms"] == 1200
    assert len(found["stretches"]) == 1
    assert found["most"] < 12_001 / 32768
    assert found["lines"] == 1, "a reply that is over is forgotten"


async def test_h3_a_frame_count_of_the_browser_that_stands_still_is_not_heard(page: Page) -> None:
    """Chromium leaves `currentFrame` as it was where the page's thread holds the audio graph's lock."""
    found = await run(
        page,
        """
        const posted = [];
        Object.assign(globalThis, {
            sampleRate: 24000, currentFrame: 0, currentTime: 0,
            AudioWorkletProcessor: class { port = {postMessage: message => posted.push(message)}; },
            registerProcessor: (name, kind) => { globalThis.Processor = kind; },
        });
        await import('/js/sound/player_worklet.js');
        const player = new Processor();
        const heard = (blocks, stale) => {
            const out = new Float32Array(blocks * 128);
            for (let block = 0; block < blocks; block++) {
                if (!stale.includes(block)) currentFrame = start + block * 128;
                player.process([], [[out.subarray(block * 128, block * 128 + 128)]]);
            }
            return out;
        };
        const say = (reply) => {
            for (const {samples, at} of speech(reply, 20, 60))
                player.port.onmessage({data: {type: 'piece', reply, at_ms: at / 24, samples}});
        };
        let start = 0;
        say('r1');
        const all = heard(300, []);
        start += 300 * 128 + 48000; // the whole node stood still for two seconds
        currentFrame = start;
        say('r2');
        const stale = heard(300, [60, 61, 90, 200]);
        const begin = out => out.findIndex(value => value !== 0);
        const length = 20 * 60 * 24;
        const [one, other] = [all, stale].map(out => out.slice(begin(out), begin(out) + length));
        const same = one.every((value, index) => value === other[index]);
        return {first: begin(all) / 24, loud: one.every(value => value !== 0), same};
        """,
    )
    assert found == {"first": 160, "loud": True, "same": True}


async def test_h3_all_memory_of_the_sound_is_given_back_once_and_nothing_of_it_still_sounds(page: Page) -> None:
    found = await run(
        page,
        """
        const pieces = [...speech('r1', 40, 60), ...speech('r2', 40, 60), ...speech('r3', 10, 60)];
        const ours = new Set(pieces.map(piece => piece.samples.buffer)), back = [];
        let strange = 0;
        const look = (buffer) => {
            for (const memory of buffer.release()) {
                back.push(memory);
                strange += ours.has(memory) ? 0 : 1;
                new Int16Array(memory).fill(32767);
            }
        };
        const arrivals = pieces.map((piece, index) => [100 + 30 * index, piece]);
        const things = [[900, buffer => buffer.clear('r1', 24000, 21600)], [2000, (buffer, now) => buffer.flush(now)]];
        for (let ms = 0; ms < 6000; ms += 100) things.push([ms, look]);
        const {out} = play(arrivals, 6000, things.sort(([one], [other]) => one - other));
        const loudest = out.reduce((most, value) => Math.max(most, value), 0);
        return {given: ours.size, back: back.length, once: new Set(back).size, strange, loudest};
        """,
    )
    assert found["back"] == found["once"] == found["given"] == 90
    assert found["strange"] == 0
    assert found["loudest"] < 12_001 / 32768, "what was given back was heard"


async def test_h3_flushed_it_is_silent_at_once_and_stays_so_until_another_reply(page: Page) -> None:
    found = await run(
        page,
        """
        const first = speech('r1', 50, 60).map(piece => [100 + Math.max(0, piece.at / 24 - 500), piece])
            .filter(([arrives]) => arrives < 1400);  // the server sends nothing after its `audio_clear`
        const second = speech('r2', 5, 60).map(piece => [3500, piece]);
        const {out, figures} = play([...first, ...second], 5000, [[1000, (buffer, now) => buffer.flush(now)],
            [1400, (buffer, now) => buffer.clear('r1', 700 * 24, now)]]);
        return {stretches: stretches(out), figures};
        """,
    )
    assert len(found["stretches"]) == 2
    (_, ended), (began, _) = found["stretches"]
    assert 1000 <= ended <= 1012
    assert began > 3500, "what came of the first reply afterwards is not heard"
    assert found["figures"]["gaps"] == 0


async def test_h3_cleared_it_ends_where_the_server_says_and_can_go_on_later(page: Page) -> None:
    found = await run(
        page,
        """
        const before = speech('r1', 20, 60).map(piece => [100 + Math.max(0, piece.at / 24 - 500), piece]);
        const after = speech('r1', 20, 60, 2000).map(piece => [1900 + Math.max(0, piece.at / 24 - 2000), piece]);
        const clear = (buffer, now) => buffer.clear('r1', 800 * 24, now);
        const {out, figures} = play([...before, ...after], 4500, [[900, clear]]);
        return {stretches: stretches(out), figures};
        """,
    )
    (_, ended), (began, last) = found["stretches"]
    assert 905 <= ended <= 970, "at its 800th ms, which is 1060 here, or 60 ms from now"
    assert 2230 <= began <= 2290, "its 2000th ms is where it was before"
    assert last - began == pytest.approx(1200, abs=10)
    assert found["figures"]["gaps"] == 0


@pytest.mark.parametrize("rate", [48_000, 44_100, 96_000, 16_000])
async def test_h3_the_microphone_at_16_khz_holds_no_mirrored_tones(page: Page, rate: int) -> None:
    code = """
        const {rate, tone} = given, filter = new LowPass(rate, 16000), out = [];
        const wave = (time) => Math.sin(2 * Math.PI * tone * time / rate);
        for (let at = 0; at < rate / 2; at += 128) {
            out.push(...filter.feed(Float32Array.from({length: 128}, (_, n) => wave(at + n))));
        }
        return out;
    """
    for tone in (300, 1000, 3400, 6500):
        sound = np.array(await run(page, code, {"rate": rate, "tone": tone}))
        assert abs(len(sound) - 8_000) < 120
        middle = sound[1000:7_000]
        spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
        assert abs(np.argmax(spectrum) * 16_000 / len(middle) - tone) < 2
        assert 20 * np.log10(np.sqrt(np.mean(middle**2)) * np.sqrt(2)) == pytest.approx(0, abs=0.2)
        rest = np.delete(spectrum, np.arange(np.argmax(spectrum) - 8, np.argmax(spectrum) + 9))
        assert 20 * np.log10(rest.max() / spectrum.max()) < -60
    for tone in (9_500, 12_000, 15_900) if rate > 40_000 else ():
        sound = np.array(await run(page, code, {"rate": rate, "tone": tone}))[1000:7_000]
        assert 20 * np.log10(np.abs(sound).max()) < -60


async def test_h3_a_stalled_network_does_not_delay_what_is_said_later(page: Page) -> None:
    code = """
        const {Socket} = await import('/js/socket.js');
        const real = window.WebSocket;
        let fake;
        window.WebSocket = class {
            static OPEN = 1;
            readyState = 1;
            bufferedAmount = 0;
            sent = 0;
            constructor() { fake = this; }
            send(data) { this.sent += data.byteLength ?? 0; this.bufferedAmount += data.byteLength ?? 0; }
            close() {}
        };
        const socket = new Socket({sessionid: '1'}, null, {onMessage() {}, onReplay() {}, onState() {}});
        window.WebSocket = real;
        fake.onmessage({data: '{"type":"login_success"}'});
        const speak = seconds => { for (let n = 0; n < seconds * 50; n++) socket.sendSound(new ArrayBuffer(640)); };
        speak(10);
        const stalled = fake.sent;
        fake.bufferedAmount = 0;  // it takes all that waited
        speak(0.2);
        socket.close();
        return [stalled / 32000, (fake.sent - stalled) / 32000];"""
    waiting, after = await run(page, code)
    assert 0.4 <= waiting <= 0.6
    assert after == pytest.approx(0.2)


async def test_h3_lips_follow_what_is_heard(page: Page) -> None:
    found = await run(
        page,
        """
        let heard = null;
        const lips = new Lips({heard: () => heard});
        const at = (reply, ms) => { heard = {reply, at: ms}; return lips.now(); };
        const told = (reply, from, frames) => lips.push({reply, at_ms: from, step_ms: 40, names: ['jawOpen'], frames});
        told('r1', 0, [[0], [0.4], [0.8], [0]]);
        const shown = [0, 40, 60, 80, 110].map(ms => at('r1', ms)?.[0] ?? null);
        lips.clear({reply: 'r1', at_ms: 80});
        await new Promise(done => setTimeout(done, 300));
        const cleared = at('r1', 120);
        told('r1', 120, [[0.5], [0.5]]);
        const again = at('r1', 130)[0];
        lips.flush();
        told('r1', 200, [[0.7], [0.7]]);
        await new Promise(done => setTimeout(done, 300));
        const refused = at('r1', 210);
        told('r2', 0, [[0.3], [0.3]]);
        return {shown, cleared, again, refused, next: at('r2', 10)[0], nobody: (heard = null, lips.now())?.[0] < 0.3};
        """,
    )
    assert found["shown"] == pytest.approx([0, 0.4, 0.6, 0.8, 0.2])
    assert found["cleared"] is None, "the mouth has come to rest"
    assert found["again"] == 0.5
    assert found["refused"] is None
    assert found["next"] == pytest.approx(0.3)


async def test_h3_eyes_blink_now_and_then_and_the_head_never_jerks(page: Page) -> None:
    found = await run(
        page,
        """
        const blinks = new Blinks(dice(2)), sway = new Sway(dice(4)), shut = [], steps = [], far = [];
        let before = null;
        for (let time = 0; time < 120; time += 1 / 60) {
            shut.push(blinks.at(time));
            const doing = ['idle', 'listening', 'thinking', 'speaking'][Math.floor(time / 5) % 4];
            const pose = sway.at(time, doing, doing === 'speaking' ? Math.abs(Math.sin(9 * time)) : 0);
            far.push(Math.max(...Object.values(pose).map(Math.abs)));
            if (before) steps.push(Math.max(...Object.keys(pose).map(name => Math.abs(pose[name] - before[name]))));
            before = pose;
        }
        return {shut, steps: Math.max(...steps), far: Math.max(...far), still: Math.max(...far.slice(0, 60)) > 0};
        """,
    )
    shut = np.array(found["shut"])
    closed = shut > 0.5
    starts = np.flatnonzero(closed[1:] & ~closed[:-1])
    assert 20 < len(starts) < 60
    assert 0.05 < closed.sum() / 60 / len(starts) < 0.25, "seconds per blink"
    assert shut.max() > 0.9
    assert found["steps"] < 0.003
    assert found["far"] < 0.06
