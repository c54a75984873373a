"""What the demo says, English and Chinese side by side. Variants take turns; `{…}` is filled in."""

from __future__ import annotations

PHRASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "empty": (
        ("Sorry, I did not catch that. Could you say it again?", "I heard nothing. Could you repeat that?"),
        ("抱歉，我没有听清，请再说一遍好吗？", "我什么都没听到，请再说一次。"),
    ),
    "greeting": (
        ("Hello{name}! Nice to meet you.", "Hi{name}! What shall we talk about?", "Hello{name}! How are you today?"),
        ("你好{name}！很高兴见到你。", "嗨{name}！我们聊点什么？", "你好{name}！今天过得怎么样？"),
    ),
    "how are you": (
        ("I am fine, thank you. And you?", "Very well, thanks. My lips move and my voice works."),
        ("我很好，谢谢。你呢？", "很不错，谢谢关心。我的声音和嘴唇都很正常。"),
    ),
    "fine": (("I am glad to hear that.", "That is good to hear."), ("听你这么说我很高兴。", "那太好了。")),
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
            "Why did the computer go to the doctor? It had a virus.",
            "I would tell you a joke about UDP, but you might not get it.",
            "Why was six afraid of seven? Because seven ate nine.",
            "There are ten kinds of people: those who understand binary, and those who don't.",
        ),
        (
            "电脑为什么去看医生？因为它中了病毒。",
            "我本来想讲个关于网络丢包的笑话，可惜你可能收不到。",
            "小明问：为什么数学书总是不开心？因为它的问题太多了。",
        ),
    ),
    "thanks": (("You are welcome!", "My pleasure.", "Any time."), ("不客气！", "很乐意帮忙。", "随时为你效劳。")),
    "goodbye": (
        ("Goodbye{name}! It was nice talking to you.", "See you soon{name}!"),
        ("再见{name}！和你聊天很愉快。", "回头见{name}！"),
    ),
    "stop": (("Okay, I will be quiet.", "All right, I am listening."), ("好的，我不说了。", "好的，我在听。")),
    "name told": (
        ("Nice to meet you, {value}.", "Hello, {value}. I will remember that."),
        ("很高兴认识你，{value}。", "你好，{value}，我记住了。"),
    ),
    "name known": (
        ("Your name is {value}.", "You told me that you are {value}."),
        ("你叫{value}。", "你告诉过我，你叫{value}。"),
    ),
    "name unknown": (("You have not told me your name yet.",), ("你还没有告诉我你的名字。",)),
    "repeat what": (("Gladly. What shall I say?",), ("好的，要我说什么呢？",)),
    "sum": (("{question} is {value}.",), ("{question}等于{value}。",)),
    "result": (("That makes {value}.",), ("结果是{value}。",)),
    "zero": (("Nothing can be divided by zero, not even by me.",), ("零不能做除数，我也没办法。",)),
    "negative root": (("A negative number has no real square root.",), ("负数没有实数平方根。",)),
    "huge": (("That number is too big for me to say.",), ("这个数太大了，我说不出来。",)),
    "time": (("It is {value}.",), ("现在是{value}。",)),
    "date": (("Today is {value}.",), ("今天是{value}。",)),
    "weather": (
        ("I can not look out of the window: this demo works without the internet. I can tell you the time.",),
        ("我看不到窗外，这个演示不联网。不过我可以告诉你时间。",),
    ),
    "unknown": (
        (
            "I heard: {value}. I am only a demo, so I can not answer that. Ask me for a sum or for a joke.",
            "I understood: {value}. That is beyond this demo. "
            "Try asking what time it is, or say: repeat after me, hello.",
            "You said: {value}. As a small demo I do not know that. Ask what I can do, or what is seven times six.",
        ),
        (
            "我听到的是：{value}。我只是演示，答不上来。可以让我算一道题，或者讲个笑话。",
            "你说的是：{value}。这超出了演示的能力。试试问我现在几点，或者说：跟我说你好。",
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
