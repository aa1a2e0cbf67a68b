"""Write the bundled corpus: plain sentences about simple facts, in English and Chinese.

    python recipes/quickstart/make_corpus.py

All sentences are made from the facts and patterns below, so the text is this project's own and is
the same on every machine. Facts recur in many wordings, so that a tiny model can learn them. The
sentences of `probes.tsv` are in no document, but their facts are, in other words.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENTS = {"english": 1400, "chinese": 1400}
SEED = 20


@dataclass(frozen=True)
class Topic:
    """Facts of one kind and the patterns that express them; `{0}`, `{1}` … are a fact's parts."""

    facts: tuple[tuple[str, ...], ...]
    patterns: tuple[str, ...]


def pairs(text: str) -> tuple[tuple[str, ...], ...]:
    """Parse `a b, c d` as ((a, b), (c, d)); an underscore is replaced by a space."""
    rows = (item.split() for item in text.replace("\n", " ").split(","))
    return tuple(tuple(word.replace("_", " ") for word in row) for row in rows if row)


def both_ways(facts: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    """Each pair, and each pair reversed."""
    return facts + tuple(fact[::-1] for fact in facts)


def steps(words: str, *, round_trip: bool = True) -> tuple[tuple[str, ...], ...]:
    """Each word paired with the next one."""
    order = words.split()
    following = order[1:] + order[:1] if round_trip else order[1:]
    return tuple(zip(order, following, strict=False))


ENGLISH = (
    Topic(
        pairs(
            "France Paris, Italy Rome, Spain Madrid, Germany Berlin, Britain London,"
            "Russia Moscow, China Beijing, Japan Tokyo"
        ),
        (
            "The capital of {0} is {1}.",
            "{1} is the capital of {0}.",
            "The government of {0} sits in {1}.",
            "Last summer we travelled to {0} and stayed in {1}.",
            "If you fly to {0}, you will probably land in {1}.",
            "My uncle lives in {1}, the capital of {0}.",
            "In {0} every road seems to lead to {1}, the capital.",
            "Which city is the capital of {0}? It is {1}.",
        ),
    ),
    Topic(
        pairs(
            "France French, Italy Italian, Spain Spanish, Germany German, Britain English,"
            "Russia Russian, Brazil Portuguese, Japan Japanese"
        ),
        (
            "In {0} people speak {1}.",
            "The people of {0} speak {1}.",
            "{1} is the language of {0}.",
            "She learnt {1} before she moved to {0}.",
            "He grew up in {0}, so he speaks {1} very well.",
            "The signs in {0} are written in {1}.",
        ),
    ),
    Topic(
        both_ways(
            pairs(
                "hot cold, big small, fast slow, old new, high low, wet dry, full empty,clean dirty"
            )
        ),
        (
            "The opposite of {0} is {1}.",
            "{0} is the opposite of {1}.",
            "If it is not {0}, it is {1}.",
            "One of them is {0}, the other is {1}.",
            "Something that is no longer {1} has become {0}.",
            "I asked for the {0} one and they gave me the {1} one.",
        ),
    ),
    Topic(
        pairs(
            "cow moo calf grass, dog woof puppy bones, cat meow kitten fish, sheep baa lamb clover,"
            "duck quack duckling snails, pig oink piglet potatoes, lion roar cub meat"
        ),
        (
            "A {0} says {1}.",
            "The {0} said {1} and looked at us.",
            "When you hear {1}, there is a {0} near you.",
            "A young {0} is called a {2}.",
            "The {0} walks beside its {2}.",
            "A {0} likes to eat {3}.",
            "We gave some {3} to the {0}, and it said {1}.",
        ),
    ),
    Topic(
        pairs(
            "snow white, grass green, coal black, the_sky blue, a_lemon yellow, a_carrot orange,"
            "a_tomato red, chocolate brown"
        ),
        (
            "The colour of {0} is {1}.",
            "{0} is {1}.",
            "Everybody knows that {0} is {1}.",
            "She painted {0} in {1}.",
            "It was as {1} as {0}.",
            "To draw {0} I need the {1} pencil.",
        ),
    ),
    Topic(
        pairs(
            "baker bread bakes oven, farmer wheat grows field, tailor coats sews needle,"
            "painter pictures paints brush, writer books writes pen, cook soup cooks pot,"
            "doctor patients helps hospital, postman letters brings bag"
        ),
        (
            "The {0} {2} {1}.",
            "A {0} is somebody who {2} {1}.",
            "My neighbour is a {0}, he {2} {1} every day.",
            "Early in the morning a {0} {2} {1}.",
            "What does a {0} need? A {0} needs the {3}.",
            "The {0} left the {3} behind and came home late.",
        ),
    ),
    Topic(
        steps("Monday Tuesday Wednesday Thursday Friday Saturday Sunday"),
        (
            "After {0} comes {1}.",
            "The day after {0} is {1}.",
            "{0} comes before {1}.",
            "Today is {0}, tomorrow will be {1}.",
            "She arrived on {0} and left on {1}.",
        ),
    ),
    Topic(
        steps("spring summer autumn winter"),
        (
            "After {0} comes {1}.",
            "{0} is over and {1} has begun.",
            "First it was {0}, then it was {1}.",
            "When {0} ends, {1} begins.",
        ),
    ),
    Topic(
        steps("one two three four five six seven eight nine ten", round_trip=False),
        (
            "The number after {0} is {1}.",
            "{0} and one make {1}.",
            "If you add one to {0}, you get {1}.",
            "She counted: {0}, {1}, and went on.",
        ),
    ),
    Topic(
        pairs(
            "Anna library read_a_book, Peter river catch_a_fish, Mary market buy_some_apples,"
            "Lucy garden plant_a_tree, Jack station meet_his_sister, Emma kitchen bake_a_cake"
        ),
        (
            "{0} went to the {1} to {2}.",
            "Every week {0} goes to the {1} because it is the best place to {2}.",
            "{0} came home from the {1} in the evening.",
            "It rained, but {0} still wanted to {2}.",
            "We met {0} at the {1}.",
        ),
    ),
)

CHINESE = (
    Topic(
        pairs(
            "中国 北京, 法国 巴黎, 日本 东京, 英国 伦敦, 德国 柏林, 俄国 莫斯科, 埃及 开罗,"
            "泰国 曼谷"
        ),
        (
            "{0}的首都是{1}。",
            "{1}是{0}的首都。",
            "去年夏天，我们去{0}旅行，住在{1}。",
            "要去{0}，飞机通常先到{1}。",
            "我的叔叔住在{0}的首都{1}。",
            "{0}最有名的城市要数{1}。",
            "你知道{0}的首都在哪里吗？在{1}。",
        ),
    ),
    Topic(
        both_ways(pairs("大 小, 高 低, 长 短, 快 慢, 冷 热, 新 旧, 多 少, 早 晚")),
        (
            "“{0}”的反义词是“{1}”。",
            "{0}和{1}是一对反义词。",
            "不是{0}，就是{1}。",
            "一个{0}，一个{1}，正好相反。",
            "老师问：“{0}的反面是什么？”学生答：“是{1}。”",
        ),
    ),
    Topic(
        pairs("雪花 白, 青草 绿, 煤炭 黑, 天空 蓝, 香蕉 黄, 番茄 红, 橘子 橙, 葡萄 紫"),
        (
            "{0}是{1}色的。",
            "{0}的颜色是{1}色。",
            "画{0}要用{1}色的笔。",
            "大家都知道，{0}是{1}的。",
            "妹妹把{0}涂成了{1}色。",
        ),
    ),
    Topic(
        pairs("糖果 甜, 柠檬 酸, 辣椒 辣, 海水 咸, 中药 苦, 西瓜 甜, 山楂 酸"),
        (
            "{0}是{1}的。",
            "{0}尝起来很{1}。",
            "{0}的味道{1}{1}的。",
            "他吃了一口{0}，说：“真{1}！”",
            "说到{1}，我就想起{0}。",
        ),
    ),
    Topic(
        pairs(
            "书 本 桌上, 鱼 条 池塘里, 马 匹 草原上, 树 棵 门前, 花 朵 花园里, 车 辆 路边,"
            "船 艘 海上, 鸟 只 树上"
        ),
        (
            "{2}有一{1}{0}。",
            "我看见一{1}{0}。",
            "这{1}{0}真好看。",
            "他数了数，一共有三{1}{0}。",
            "{2}的那{1}{0}是谁的？",
            "一{1}{0}，两{1}{0}，小弟弟数得很认真。",
        ),
    ),
    Topic(
        steps("春天 夏天 秋天 冬天"),
        (
            "{0}过后就是{1}。",
            "{0}走了，{1}来了。",
            "{1}在{0}之后。",
            "过完{0}，很快就到{1}了。",
        ),
    ),
    Topic(
        steps("星期一 星期二 星期三 星期四 星期五 星期六 星期日"),
        (
            "今天是{0}，明天是{1}。",
            "{0}的后一天是{1}。",
            "昨天是{0}，今天就是{1}。",
            "他{0}出门，{1}才回家。",
        ),
    ),
    Topic(
        pairs(
            "医生 医院 看病, 老师 学校 教书, 厨师 厨房 做饭, 农民 田里 种地, 画家 画室 画画,"
            "渔民 海上 打鱼, 作家 书房 写作"
        ),
        (
            "{0}在{1}{2}。",
            "我爸爸是一名{0}，每天在{1}{2}。",
            "长大以后我想当{0}，去{1}{2}。",
            "要找{0}，就到{1}去。",
            "{2}是{0}的工作。",
        ),
    ),
    Topic(
        pairs(
            "小猫 喵喵 鱼, 小狗 汪汪 骨头, 公鸡 喔喔 米, 小羊 咩咩 草, 鸭子 嘎嘎 虫子,"
            "青蛙 呱呱 苍蝇"
        ),
        (
            "{0}{1}叫。",
            "{0}最爱吃{2}。",
            "听见{1}的叫声，就知道是{0}来了。",
            "我们喂{0}吃{2}，它高兴得{1}叫。",
            "{0}一边吃{2}，一边{1}地叫。",
        ),
    ),
    Topic(
        pairs(
            "小明 图书馆 看书, 小红 公园 放风筝, 小华 商店 买苹果, 小丽 河边 洗衣服,"
            "小刚 操场 踢足球, 小芳 车站 接妈妈"
        ),
        (
            "{0}去{1}{2}。",
            "每个星期，{0}都要去{1}{2}。",
            "下雨了，可是{0}还是想去{2}。",
            "我们在{1}遇见了{0}。",
            "傍晚，{0}从{1}回来了。",
        ),
    ),
)


def documents(
    topics: tuple[Topic, ...], joint: str, forbidden: frozenset[str], draw: random.Random
) -> Iterator[str]:
    """Yield different documents endlessly: some sentences about one topic, or about a few."""
    seen: set[str] = set()
    while True:
        sentences = []
        for topic in draw.sample(topics, draw.choice((1, 1, 2, 3))):
            # Each fact at most once, so that a model has to know it and cannot copy it.
            count = min(draw.choice((1, 2, 3, 4, 6)), len(topic.facts))
            for fact in draw.sample(topic.facts, count):
                sentence = draw.choice(topic.patterns).format(*fact)
                if sentence.lower() not in forbidden:
                    sentences.append(sentence[0].upper() + sentence[1:])
        document = joint.join(sentences)
        if document and document not in seen:
            seen.add(document)
            yield document


def probe_sentences() -> frozenset[str]:
    """The probes with their answers filled in, in lower case."""
    rows = (HERE / "probes.tsv").read_text(encoding="utf-8").splitlines()
    probes = (row.split("\t") for row in rows)
    return frozenset(question.replace("[MASK]", answer).lower() for question, answer in probes)


def main() -> None:
    """Write `corpus/english.txt` and `corpus/chinese.txt`."""
    (HERE / "corpus").mkdir(exist_ok=True)
    for name, topics, joint in (("english", ENGLISH, " "), ("chinese", CHINESE, "")):
        stream = documents(topics, joint, probe_sentences(), random.Random(f"{SEED}-{name}"))
        lines = (next(stream) + "\n" for _ in range(DOCUMENTS[name]))
        (HERE / "corpus" / f"{name}.txt").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
