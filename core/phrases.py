"""Words that tell whether somebody has finished, in English and Chinese. Data only; read by `core.endpointing`.

English entries are lower case without punctuation; Chinese ones are matched at the end of what was said.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPEN_WORDS = _words(
    "a an the and or but because if although unless until whereas whether than nor plus minus my your our their "
    "its every each another some several which very quite of into onto between without during against toward "
    "towards we they he she i i'm i'd i'll i've we're we'd we'll they're you're he's she's let's there's gonna "
    "wanna maybe perhaps either neither except including called named regarding concerning even"
)
"""English words after which more must come."""

LEANING_WORDS = _words(
    "to in on at for with from by about over under through near as like so then when while where since after "
    "before is are was were am be been will would can could should must may might do does did has had have want "
    "need get make any no not also just only more most don't doesn't didn't can't won't isn't aren't it's "
    "that's what's what who how why think know mean believe hope wish said says both well actually basically "
    "that this these those next first second last"
)
"""English words after which more usually comes."""

STRANDED = _words("in on at for from about like")
"""Prepositions that may end a question ("what is it for")."""

FILLERS = _words("um umm uh uhm er erm eh hm hmm mm mmm ah")
"""Sounds of somebody who looks for words."""

OPEN_PHRASES = (
    "you know", "i mean", "let me see", "let me think", "sort of", "kind of", "such as", "as well as", "in order to",
    "for example", "how about", "what about", "and then", "so that", "the thing is", "i think that", "hold on",
    "i want", "i need", "i like", "i would like", "i want to", "one more", "a lot of", "due to", "because of",
    "at least",
)  # fmt: skip
"""English endings of several words after which more must come."""

WHOLE = (
    "yes", "no", "yeah", "nope", "yep", "ok", "okay", "be quiet", "bye", "continue", "exactly", "go ahead", "go on",
    "good afternoon", "good bye", "good evening", "good morning", "good night", "goodbye", "hello", "hello there",
    "help", "help me", "hey", "hi", "how", "how are you", "how do you do", "i am", "i do", "i don't know",
    "i don't think so", "i hope so", "i know", "i see", "i think so", "maybe", "me too", "never mind", "no i don't",
    "no i'm not", "no it isn't", "no thank you", "no thanks", "not really", "nothing", "of course", "please",
    "really", "repeat that", "right", "say that again", "see you", "see you later", "shut up", "so do i", "stop",
    "stop it", "sure", "thank you", "thank you very much", "thanks", "thanks a lot", "that is all", "that is right",
    "that's all", "that's it", "that's right", "wait", "what", "what is it", "what is that", "what's that", "when",
    "where", "who", "who are you", "why", "yes i am", "yes i do", "yes it is", "yes please", "you're welcome",
)  # fmt: skip
"""English utterances that are whole as they are."""

CLOSING_PHRASES = (
    "please", "thanks", "thank you", "right now", "today", "tomorrow", "tonight", "yesterday", "too", "again",
    "instead", "for me", "goodbye", "bye", "isn't it", "don't you", "aren't you", "right away", "at once", "as well",
    "this morning", "this evening", "this afternoon", "very much", "of course", "anymore", "at all", "after all",
    "o'clock", "last night", "last week", "next week", "is it", "are you", "do you", "you", "them", "him",
)  # fmt: skip
"""English endings after which nothing is missing."""

QUESTION_STARTS = _words(
    "what what's who who's whose where where's when when's why how how's which is are was were am do does did "
    "can could will would should shall may have has had isn't aren't don't doesn't didn't can't won't"
)
"""English words that begin a question."""

COMMANDS = _words(
    "tell show give play open close turn read stop call send find explain help make set start repeat say sing "
    "look remind translate describe switch go come speak talk count search write add book order"
)
"""English words that begin a request."""

LEAD_INS = _words("and so well okay ok please hello hi hey now then but oh yes no um uh eman")
"""English words before the sentence proper."""

BACK_CHANNELS = (
    "mm hm", "mm hmm", "mhm", "mm", "mmm", "hmm", "hm", "uh huh", "uhhuh", "aha", "ah", "oh", "yeah", "yep", "yup",
    "yes", "right", "ok", "okay", "sure", "i see", "got it", "really", "wow", "nice", "great", "cool", "exactly",
    "alright", "all right", "um", "uh", "true", "of course", "interesting", "indeed", "yea", "ya", "good", "huh",
)  # fmt: skip
"""What an English listener says to show that they listen, not to take the turn."""

OPEN_ENDS_ZH = _words(
    "因为 所以 然后 而且 但是 可是 不过 如果 要是 虽然 还有 以及 或者 或是 还是 并且 另外 比如 比如说 例如 就是 "
    "就是说 那个 这个 那么 除了 关于 由于 只要 只有 即使 既然 一个 一些 我想 我要 我觉得 我想要 嗯 呃 额 唔 "
    "怎么说 和 跟 与 或 把 被 让 从 向 往 很 非常 特别 最 更 每 请 请问 帮我 给我 为了 接着 首先 其次 包括 而 "
    "但 及 若"
)
"""Chinese endings after which more must come."""

LEANING_ENDS_ZH = _words("在 给 是 想 要 会 能 有 用 到 比 说 叫 去 都 也 就 还 又 我 你的 他的 她的 我的")
"""Chinese endings after which more usually comes."""

CLOSED_ENDS_ZH = _words(
    "吗 呢 吧 么 呀 啦 嘛 什么 哪里 哪儿 谁 多少 几点 怎么样 为什么 怎么办 谢谢 谢谢你 再见 你好 您好 好的 是的 "
    "可以 没有 不是 不要 不用 知道了 明白了 好了 对不对 是不是 好不好 行不行 停 闭嘴 继续 拜拜 早上好 晚上好 "
    "晚安 没关系 不客气 对 好 不 行"
)
"""Chinese endings after which nothing is missing."""

BACK_CHANNELS_ZH = _words(
    "嗯 嗯哼 哦 噢 喔 啊 哈 呵 对 对啊 对的 好 好的 好吧 好啊 是 是的 是吗 是啊 行 没错 明白 明白了 知道了 了解 "
    "这样啊 原来如此 真的 真的吗 有道理 哇 诶 欸 呃"
)
"""What a Chinese listener says to show that they listen."""
