"""Longer Chinese documents: adventures, fables, letters, diaries, dialogues and reports."""

# ruff: noqa: RUF001

from __future__ import annotations

from corpus_source.chinese_facts import (
    ANIMALS,
    CHILDREN,
    COLOURS,
    COUNTRIES,
    COUNTS,
    DAYS,
    FESTIVALS,
    FOODS,
    GOODS,
    GROCER,
    IDIOMS,
    JOBS,
    MEASURES,
    MONTHS,
    NEIGHBOURS,
    NUMBERS,
    OPPOSITES,
    PROVINCES,
    SEASONS,
    Child,
    Country,
)
from corpus_source.chinese_plots import PLOTS, RECIPES
from corpus_source.dealing import Dealer, DocumentKind

GREETINGS = (
    "亲爱的{friend}：你好！",
    "{friend}，你最近好吗？",
    "{friend}，来信收到了，谢谢你。",
    "亲爱的{friend}，好久没有给你写信了。",
)
ARRIVALS = (
    "我现在在{capital}，也就是{country}的首都。",
    "昨天我们到了{country}的首都{capital}。",
    "我们坐了很久的飞机，终于来到{country}，住在首都{capital}。",
    "这封信是从{country}的首都{capital}寄出的。",
    "{country}真远啊！我们先在首都{capital}住几天。",
)
IMPRESSIONS = (
    "早上我们去看了{sight}，比照片上还要好看。",
    "这座城市坐落在{lies}，到处是桥和塔。",
    "这里的人都说{language}，我已经会用{language}数到十了。",
    "午饭吃的是{dish}，{country}人天天都吃。",
    "我买了一张印着{sight}的明信片。",
    "旅馆虽然小，可是站在阳台上能听见钟声。",
    "服务员教我用{language}说“谢谢”。",
    "我们走得脚都疼了，只好坐电车回去。",
    "集市上卖地毯、铜灯，还有各种各样的水果。",
    "有个街头艺人拉了一晚上手风琴。",
    "我觉得{dish}是{continent}最好吃的东西。",
    "我背了好多{language}单词，可是发音总不准。",
)
WEATHER_NOTES = (
    "现在是{season}，天气很{weather}。",
    "正是{season}，{signs}。",
    "幸好我带了{wear}，{season}的天气真{weather}。",
)
FAREWELLS = (
    "替我摸摸{pet}的头。{child}",
    "{day}见！你的朋友{child}",
    "请代我向青石镇的大家问好。{child}",
    "希望{pet_kind}{pet}一切都好。想念你们的{child}",
    "我给你留了一张邮票。祝你天天快乐！{child}",
)
JOURNEYS = (
    "今天我们飞到了{country}。",
    "一大早，我们动身去{country}。",
    "旅行的下一站是{country}。",
    "告别了昨天的朋友，我们来到{country}。",
)
STOPS = (
    "我们在首都{capital}玩了一整天。",
    "{country}的首都是{capital}，我们就住在那里。",
    "{capital}是{country}的首都，夜里灯火通明。",
    "到了首都{capital}，我们先找旅馆。",
)
HOME_TRIPS = (
    "坐火车到了{province}的省会{city}。",
    "{city}是{province}的省会，我们在这里停留一天。",
    "今天到了{province}，住在省会{city}。",
)
HOME_NOTES = (
    "上午去看了{spot}，人真多。",
    "尝了尝{treat}，味道好极了。",
    "当地人说，没吃过{treat}就不算来过{province}。",
    "我在{spot}前面照了一张相。",
)

TALES = (
    (
        "从前，一只{strong}和一只{weak}住在同一座山上。",
        "很久很久以前，{strong}在井边遇见了{weak}。",
        "一个大热天，{strong}碰上了{weak}。",
        "在动物会说话的年代，{strong}和{weak}做了邻居。",
    ),
    (
        "{strong}骄傲地说：“我的本领最大，你算什么？”",
        "{weak}有礼貌地说：“早上好，邻居。”",
        "“我们一起吃晚饭吧。”{weak}提议。",
        "{strong}闲得无聊，说：“我们来比一比谁更聪明。”",
    ),
    (
        "{strong}想独占所有的{prey}，{weak}只好忍着。",
        "他们约定，谁先过河，谁就当大王。",
        "没过几天，{strong}掉进了猎人的陷阱。",
        "后来{strong}的脚上扎了一根刺，疼得走不了路。",
        "森林里突然起了大火，浓烟滚滚。",
    ),
    (
        "{weak}没有逃走，而是静静地想了一会儿。",
        "“别慌，我有办法。”{weak}说。",
        "{weak}叫来所有的亲戚，大家一起动手。",
        "{weak}不声不响地干了起来。",
    ),
    (
        "月亮还没升起，危险就过去了。",
        "{strong}羞红了脸，向{weak}道歉。",
        "{strong}低下头，感谢{weak}的帮助。",
        "太阳出来的时候，他们成了好朋友。",
    ),
    (
        "这个故事告诉我们：个子小的朋友也能帮大忙。",
        "看来，骄傲使人落后。",
        "懂得分享的人，永远不会孤单。",
        "动脑筋比力气大更重要。",
        "帮助别人，就是帮助自己。",
    ),
)
BIG_ANIMALS = ("老虎", "狮子", "黑熊", "豹子", "野狼", "大象", "鳄鱼", "老鹰")
SMALL_ANIMALS = ("老鼠", "兔子", "刺猬", "松鼠", "麻雀", "蜗牛", "蚂蚁", "青蛙")
PREY = ("果子", "鱼", "蜂蜜", "栗子", "玉米", "葡萄")

SHOP_TALK = (
    (
        "“您好，要点儿什么？”{adult}问。",
        "“下一位！”{adult}在柜台后面喊。",
        "{child}走进{shop}，门上的小铃铛响了。",
    ),
    (
        "“我要{number}{good_unit}{good}。”{child}说。",
        "“有{good}吗？”{child}问，“妈妈要{number}{good_unit}。”",
        "{child}打开纸条念道：“{number}{good_unit}{good}，再来一包{food}。”",
    ),
    (
        "“要不要来点儿{food}？今天的特别{taste}。”",
        "“小心，这{food}可{taste}了。”{role}说。",
        "“你尝尝这{food}，{taste}不{taste}？”",
    ),
    (
        "“一共{price}块钱。”{child}数好钱，递了过去。",
        "“多少钱？”“{price}块，零头就不要了。”",
        "“一{good_unit}一块钱，{number}{good_unit}就是{number}块。”{adult}说。",
    ),
    (
        "“谢谢，代我向{sibling}问好！”",
        "“慢走，欢迎再来！”{adult}笑着说。",
        "{child}道了谢，赶紧跑回家，{pet}还在等着呢。",
        "“当心台阶！”{adult}说，可惜已经晚了。",
    ),
)
FORECAST = (
    ("{day}天气预报：", "现在播送{day}的天气预报。", "刘大爷看了看云，在黑板上写下{day}的天气。"),
    ("早晨有雾，河面上看不清船。", "清晨晴朗，草叶上有露水。", "日出时微风，空气新鲜。"),
    ("中午前后，西边的云会慢慢多起来。", "随后刮起三四级北风。", "到了中午，太阳会从云里出来。"),
    (
        "傍晚可能有阵雨，局部地区有雷。",
        "下午天气干燥，适合晒被子。",
        "夜里天空晴朗，能看见满天星星。",
    ),
    ("眼下是{season}，天气{weather}。", "{season}天气{weather}，出门请穿{wear}。"),
    ("请农民朋友及时收割。", "船只最好不要出港。", "{next}也差不多。", "{next}天气会更好。"),
)

DIARY_MORNING = (
    "{day}，晴。",
    "{day}，从早到晚一直下雨。",
    "{day}，多云，我一大早就起床了。",
    "{day}早上，{pet}跳上床把我叫醒了。",
    "{day}到了，我的作业还没写完。",
    "{day}，有风，路上差点迟到。",
)
DIARY_NOON = (
    "地理课上，我们知道了{country}的首都是{capital}。",
    "老师说，{capital}是{country}的首都，{country}人说{language}。",
    "今天学了反义词，“{left}”的反义词是“{right}”。",
    "语文课学了成语“{idiom}”，意思是{sense}。",
    "我们参观了动物园，看见一{animal_unit}{animal}在吃{animal_food}。",
    "我看见{place}有一{unit}{noun}，就把它写进了作文。",
    "美术课上我画了{thing}，用了很多{colour}色。",
    "中午的菜里有{food}，实在太{taste}了。",
    "我去看{job}{work}，还摸了摸{tool}。",
    "路上碰到{adult}，{adult_ta}{habit}。",
    "我到集市上买了{number}{good_unit}{good}。",
    "老师问{province}的省会是哪里，我说是{city}。",
    "我们讨论怎么过{festival}，大家都说要吃{eat}。",
)
DIARY_EVENING = (
    "晚上我和{sibling}下棋，输了两盘。",
    "吃过晚饭，我接着{hobby}。",
    "睡觉前，我看了两章童话。",
    "{friend}来我家，我们用被子搭了一座城堡。",
    "爷爷讲了他年轻时坐船的故事。",
    "我给{pet}洗了个澡，弄得满地是水。",
    "今天累坏了，早早就睡了。",
    "我们躺在屋顶上数流星。",
)
CHRONICLE = (
    ("河面冻得结结实实", "学校放了寒假"),
    ("家家户户忙着过年", "街上挂满了红灯笼"),
    ("桃花开了", "燕子飞回了屋檐下"),
    ("细雨下个不停", "茶园里采起了新茶"),
    ("蔷薇爬满了篱笆", "孩子们排练大合唱"),
    ("麦子熟了，农民忙着收割", "荷花露出了尖尖的角"),
    ("孩子们天天去河里学游泳", "井里的水差点见了底"),
    ("西瓜一车一车运进镇里", "夜里到处是蟋蟀的叫声"),
    ("新学期开始了", "枣子红了，挂满枝头"),
    ("稻子一片金黄", "桂花香飘满了小镇"),
    ("最后几片叶子也落了", "早晨起了大雾"),
    ("下了第一场雪", "张师傅做了好多糖瓜"),
)
CHRONICLE_LINES = (
    "{month}，{event}。",
    "到了{month}，{event}。",
    "{previous}过后是{month}，{event}。",
    "{previous}刚过，{month}就来了，{event}。",
    "{month}里，{event}。",
)
CHRONICLE_NOTES = (
    "{adult}见人就说这件事。",
    "正是{season}，大家都穿上了{wear}。",
    "就在这个月，{child}迷上了{hobby}。",
    "{adult}送给每个孩子{gift}。",
    "{child}走到哪里，{pet}就跟到哪里。",
    "每到{season}，{signs}。",
)


def _cast(d: Dealer) -> tuple[Child, dict[str, str]]:
    """A child, and everything else that a sentence about the child may mention."""
    child = d.one(CHILDREN)
    words: dict[str, str] = {}
    for facts in (COUNTRIES, PROVINCES, NEIGHBOURS, SEASONS, COLOURS, FOODS, OPPOSITES):
        words |= d.one(facts)._asdict()
    for others in (GOODS, FESTIVALS, IDIOMS, JOBS):
        words |= d.one(others)._asdict()
    animal, measure = d.one(ANIMALS), d.one(MEASURES)
    words |= {"animal": animal.animal, "animal_unit": animal.unit, "animal_food": animal.food}
    words |= {"unit": measure.unit, "noun": measure.noun, "place": measure.place}
    day, number = d.between(0, 6), d.between(2, 9)
    words |= {"day": DAYS[day], "next": DAYS[(day + 1) % 7]}
    words |= {"number": COUNTS[number], "price": NUMBERS[number + d.between(3, 9)]}
    x, y = d.between(3, 9), d.between(3, 6)
    words |= {"x": NUMBERS[x], "y": NUMBERS[y], "z": NUMBERS[x + y]}
    friend = d.other(CHILDREN, child)
    while friend.child == child.sibling:
        friend = d.other(CHILDREN, child)
    return child, words | {"friend": friend.child}


def _written_by(d: Dealer, child: Child) -> dict[str, str]:
    """Words for a sentence that this very child writes."""
    while True:
        other, words = _cast(d)
        if other == child:
            return words


def adventure(d: Dealer) -> str:
    """One of the plots of Qingshi with its cast."""
    child, words = _cast(d)
    beats = list(d.one(PLOTS))
    if d.chance(0.5):
        del beats[d.between(1, len(beats) - 2)]
    return "".join(d.say_all(beats, child, **words))


def fable(d: Dealer) -> str:
    """A strong animal and a weak one, with a moral."""
    words = {"strong": d.one(BIG_ANIMALS), "weak": d.one(SMALL_ANIMALS), "prey": d.one(PREY)}
    return "".join(d.say_all(list(TALES), **words))


def shopping(d: Dealer) -> str:
    """A conversation in a shop."""
    child, words = _cast(d)
    return "".join(d.say_all(list(SHOP_TALK), child, **(words | GROCER._asdict())))


def recipe(d: Dealer) -> str:
    """How to prepare something to eat."""
    child, words = _cast(d)
    return "".join(d.say_all(list(d.one(RECIPES)), child, **words))


def forecast(d: Dealer) -> str:
    """The weather of one day."""
    child, words = _cast(d)
    return "".join(d.say_all(list(FORECAST), child, **words))


def _impressions(d: Dealer, place: Country, count: int) -> list[str]:
    """A few sentences about a place, all different."""
    return list(dict.fromkeys(d.say(IMPRESSIONS, place) for _ in range(count)))


def letter(d: Dealer) -> str:
    """A letter from a capital."""
    child, words = _cast(d)
    place = d.one(COUNTRIES)
    parts = [
        d.say(GREETINGS, **words),
        d.say(ARRIVALS, place),
        *_impressions(d, place, d.between(1, 4)),
    ]
    if d.chance(0.4):
        parts.append(d.say(WEATHER_NOTES, d.one(SEASONS)))
    return "".join([*parts, d.say(FAREWELLS, child, **words)])


def travels(d: Dealer) -> str:
    """A diary of a journey through several countries, or through China."""
    start, abroad, parts = d.between(0, 6), d.chance(0.6), []
    for i in range(d.between(2, 4)):
        parts.append(f"{DAYS[(start + i) % 7]}。")
        if abroad:
            place = d.one(COUNTRIES)
            parts += [d.say(JOURNEYS, place), d.say(STOPS, place)]
            parts += _impressions(d, place, d.between(1, 2))
        else:
            parts += d.say_all([HOME_TRIPS, HOME_NOTES], d.one(PROVINCES))
    return "".join(parts)


def week(d: Dealer) -> str:
    """A child's diary of several days, or of the whole week."""
    child, _ = _cast(d)
    start, count = d.between(0, 6), 7 if d.chance(0.35) else d.between(2, 4)
    parts = [] if d.chance(0.5) else [f"这是{child.child}的日记。"]
    for i in range(count):
        words = _written_by(d, child) | {"day": DAYS[(start + i) % 7]}
        parts += d.say_all([DIARY_MORNING, DIARY_NOON], child, **words)
        if d.chance(0.6):
            parts.append(d.say(DIARY_EVENING, child, **words))
    return "".join(parts)


def chronicle(d: Dealer) -> str:
    """What happened in Qingshi in some months, or in all twelve."""
    start, count = (0, 12) if d.chance(0.4) else (d.between(0, 11), d.between(2, 5))
    parts = []
    for i in range(start, start + count):
        child, _ = _cast(d)
        words = {"month": MONTHS[i % 12], "previous": MONTHS[i % 12 - 1]}
        words["event"] = d.one(CHRONICLE[i % 12])
        season = SEASONS[(i % 12 - 2) // 3]
        parts.append(d.say(CHRONICLE_LINES, **words))
        if d.chance(0.7):
            parts.append(d.say(CHRONICLE_NOTES, child, season, d.one(NEIGHBOURS)))
    return "".join(parts)


STORIES: tuple[tuple[DocumentKind, int], ...] = (
    (adventure, 10),
    (fable, 2),
    (shopping, 3),
    (recipe, 2),
    (forecast, 2),
    (letter, 5),
    (travels, 4),
    (week, 4),
    (chronicle, 3),
)
"""Each kind of story and its share of the corpus."""
