"""What the demo says, English and Chinese side by side. Variants take turns; `{…}` is filled in, `[…]` is acted."""

from __future__ import annotations

PHRASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "empty": (
        (
            "[apologetic] Sorry, I did not catch that. Could you say it again?",
            "[apologetic] I heard nothing. Could you repeat that?",
        ),
        ("[apologetic]抱歉，我没有听清，请再说一遍好吗？", "[apologetic]我什么都没听到，请再说一次。"),
    ),
    "greeting": (
        (
            "[happy] Hello{name}! Nice to meet you.",
            "[happy] Hi{name}! [tilt] What shall we talk about?",
            "[happy] Hello{name}! [tilt] How are you today?",
        ),
        (
            "[happy]你好{name}！很高兴见到你。",
            "[happy]嗨{name}！[tilt]我们聊点什么？",
            "[happy]你好{name}！[tilt]今天过得怎么样？",
        ),
    ),
    "how are you": (
        (
            "[happy] I am fine, thank you. [tilt] And you?",
            "[happy] Very well, thanks. My lips move and my voice works.",
        ),
        ("[happy]我很好，谢谢。[tilt]你呢？", "[happy]很不错，谢谢关心。我的声音和嘴唇都很正常。"),
    ),
    "fine": (
        ("[happy] I am glad to hear that.", "[nod] That is good to hear."),
        ("[happy]听你这么说我很高兴。", "[nod]那太好了。"),
    ),
    "identity": (
        (
            "I am Eman, and this is the built-in demo. Configure an OpenAI compatible server to give me a real mind.",
            "I am Eman, a talking head with a small built-in demo, not a real language model. "
            "You can connect one through any OpenAI compatible server.",
        ),
        (
            "我是 Eman，现在运行的是内置演示。配置一个兼容 OpenAI 的服务器，我就能真正思考。",
            "我是 Eman，一个会说话的虚拟形象，现在只有内置演示。你可以接入任何兼容 OpenAI 的服务器。",
        ),
    ),
    "connect": (
        (
            "In the settings, choose the dialogue engine openai and give it the address, key and model of any "
            "OpenAI compatible server.",
        ),
        ("在设置里把对话引擎改成 openai，再填上任意兼容 OpenAI 的服务器的地址、密钥和模型。",),
    ),
    "abilities": (
        (
            "I can do sums, tell the time and the date, tell a joke, and repeat after you. "
            "Try: what is seven times six?",
            "I chat a little, calculate, know the time and remember your name. Ask me for a joke.",
        ),
        (
            "我会算数、报时间和日期、讲笑话，还会跟你复述。试试问我：七乘以六等于多少？",
            "我可以简单聊天、计算、报时，还能记住你的名字。让我讲个笑话吧。",
        ),
    ),
    "joke": (
        (
            "Why did the computer go to the doctor? [happy] It had a virus.",
            "I would tell you a joke about UDP, [happy] but you might not get it.",
            "Why was six afraid of seven? [happy] Because seven ate nine.",
            "There are ten kinds of people: those who understand binary, [happy] and those who don't.",
        ),
        (
            "电脑为什么去看医生？[happy]因为它中了病毒。",
            "我本来想讲个关于网络丢包的笑话，[happy]可惜你可能收不到。",
            "小明问：为什么数学书总是不开心？[happy]因为它的问题太多了。",
        ),
    ),
    "thanks": (
        ("[happy] You are welcome!", "[happy] My pleasure.", "[nod] Any time."),
        ("[happy]不客气！", "[happy]很乐意帮忙。", "[nod]随时为你效劳。"),
    ),
    "goodbye": (
        ("[happy] Goodbye{name}! It was nice talking to you.", "[happy] See you soon{name}!"),
        ("[happy]再见{name}！和你聊天很愉快。", "[happy]回头见{name}！"),
    ),
    "stop": (
        ("[nod] Okay, I will be quiet.", "[nod] All right, I am listening."),
        ("[nod]好的，我不说了。", "[nod]好的，我在听。"),
    ),
    "name told": (
        ("[happy] Nice to meet you, {value}.", "[happy] Hello, {value}. [nod] I will remember that."),
        ("[happy]很高兴认识你，{value}。", "[happy]你好，{value}，[nod]我记住了。"),
    ),
    "name known": (
        ("Your name is {value}.", "You told me that you are {value}."),
        ("你叫{value}。", "你告诉过我，你叫{value}。"),
    ),
    "name unknown": (("[shake] You have not told me your name yet.",), ("[shake]你还没有告诉我你的名字。",)),
    "repeat what": (("[nod] Gladly. [tilt] What shall I say?",), ("[nod]好的，要我说什么呢？",)),
    "sum": (("{question} is {value}.",), ("{question}等于{value}。",)),
    "result": (("That makes {value}.",), ("结果是{value}。",)),
    "zero": (("[shake] Nothing can be divided by zero, not even by me.",), ("[shake]零不能做除数，我也没办法。",)),
    "negative root": (("A negative number has no real square root.",), ("负数没有实数平方根。",)),
    "huge": (("[surprised] That number is too big for me to say.",), ("[surprised]这个数太大了，我说不出来。",)),
    "time": (("It is {value}.",), ("现在是{value}。",)),
    "date": (("Today is {value}.",), ("今天是{value}。",)),
    "weather": (
        (
            "[apologetic] I can not look out of the window: this demo works without the internet. "
            "I can tell you the time.",
        ),
        ("[apologetic]我看不到窗外，这个演示不联网。不过我可以告诉你时间。",),
    ),
    "unknown": (
        (
            "[apologetic] I heard: {value}. I am only a demo, so I can not answer that. "
            "Ask me for a sum or for a joke.",
            "[apologetic] I understood: {value}. That is beyond this demo. "
            "Try asking what time it is, or say: repeat after me, hello.",
            "[apologetic] You said: {value}. As a small demo I do not know that. "
            "Ask what I can do, or what is seven times six.",
        ),
        (
            "[apologetic]我听到的是：{value}。我只是演示，答不上来。可以让我算一道题，或者讲个笑话。",
            "[apologetic]你说的是：{value}。这超出了演示的能力。试试问我现在几点，或者说：跟我说你好。",
        ),
    ),
}
"""Name of an answer → its English and its Chinese variants."""

WEEKDAYS = (
    ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    tuple("一二三四五六日"),
)
MONTHS = ["January", "February", "March", "April", "May", "June"]
MONTHS += ["July", "August", "September", "October", "November", "December"]


def phrase(name: str, chinese: bool, turn: int, *, value: str = "", question: str = "", user: str = "") -> str:
    """The variant of `name` that is due in turn number `turn`. `user`: the user's name, if it is known."""
    variants = PHRASES[name][chinese]
    called = "" if not user else f"，{user}" if chinese else f", {user}"
    filled = {"{value}": value, "{question}": question, "{name}": called}
    text = variants[turn % len(variants)]
    for slot, words in filled.items():
        text = text.replace(slot, words)
    return text if chinese else text[:1].upper() + text[1:]
