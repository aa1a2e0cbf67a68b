"""Short informative Chinese documents: every function writes one document about some facts."""

# ruff: noqa: RUF001

from __future__ import annotations

from corpus_source.chinese_facts import (
    ANIMALS,
    CALLS,
    CHILDREN,
    COLOURS,
    COUNTRIES,
    DAYS,
    FESTIVALS,
    FOODS,
    GOODS,
    IDIOMS,
    JOBS,
    KINDS,
    MATERIALS,
    MEASURES,
    MONTHS,
    NEIGHBOURS,
    NUMBERS,
    OPPOSITES,
    PROVINCES,
    RELATIONS,
    SEASONS,
    USES,
    ZODIAC,
)
from corpus_source.dealing import Dealer, DocumentKind

CAPITAL = (
    "{country}的首都是{capital}。",
    "{capital}是{country}的首都。",
    "{country}的首都叫{capital}。",
    "{capital}是{country}的首都，也是一座有名的城市。",
    "到{country}旅行的人，大多先到首都{capital}。",
    "在{country}地图上，红色的五角星标着首都{capital}。",
    "说起{country}，人们就会想到它的首都{capital}。",
    "{country}政府设在首都{capital}。",
    "开往{country}首都{capital}的航班中午起飞。",
)
LANGUAGE = (
    "{country}人说{language}。",
    "在{country}，人们说{language}。",
    "{language}是{country}的语言。",
    "走在{capital}街头，到处听得到{language}。",
    "{capital}的孩子从小学{language}。",
    "去{country}以前，最好先学几句{language}。",
)
CONTINENT = (
    "{country}在{continent}。",
    "{country}是{continent}国家。",
    "{country}位于{continent}。",
    "打开{continent}地图，就能找到{country}。",
)
DISH = (
    "{country}人爱吃{dish}。",
    "{dish}是{country}有名的美食。",
    "到了{country}，一定要尝尝{dish}。",
    "{capital}的餐馆里少不了{dish}。",
)
LIES = (
    "{capital}坐落在{lies}。",
    "{capital}建在{lies}。",
)
SIGHT = (
    "游客都喜欢去看{sight}。",
    "{country}的明信片上常常印着{sight}。",
    "提到{country}，不能不提{sight}。",
)
COUNTRY_FACETS = (CAPITAL, CAPITAL, LANGUAGE, CONTINENT, DISH, LIES, SIGHT)
COUNTRY_QUESTION = (
    "{country}的首都是哪里？是{capital}。",
    "{capital}是哪个国家的首都？是{country}的首都。",
    "{country}在哪个洲？在{continent}。",
    "{country}人说什么语言？说{language}。",
    "哪座城市是{country}的首都？答案是{capital}。",
)
PROVINCE = (
    "{province}的省会是{city}。",
    "{city}是{province}的省会。",
    "{city}是{province}省最大的城市之一。",
    "去{province}旅游，可以先坐火车到{city}。",
    "{province}人爱吃{treat}。",
    "说到{province}的特产，不能少了{treat}。",
    "{spot}在{province}很有名。",
    "来{province}的客人都想看看{spot}。",
)

FEEDS = (
    "{animal}爱吃{food}。",
    "{animal}喜欢吃{food}。",
    "{animal}最爱吃的是{food}。",
    "给{animal}一点{food}，它就高兴了。",
    "这{unit}{animal}正在吃{food}。",
    "{animal}吃什么？{animal}吃{food}。",
)
HOME = (
    "{animal}住在{home}。",
    "{animal}的家在{home}。",
    "天黑了，{animal}在{home}睡觉。",
)
TRAIT = (
    "{animal}{trait}。",
    "大家都知道，{animal}{trait}。",
    "你看那{unit}{animal}，它{trait}。",
)
ANIMAL_FACETS = (FEEDS, FEEDS, HOME, TRAIT)
CALL = (
    "{animal}的叫声是“{sound}”。",
    "{animal}“{sound}”地叫。",
    "“{sound}，{sound}”，原来是{animal}在叫。",
    "{animal}饿了，就“{sound}”叫个不停。",
    "听见“{sound}”的声音，就知道{animal}来了。",
    "{animal}怎么叫？{animal}{sound}叫。",
)

COLOUR = (
    "{thing}是{colour}色的。",
    "{thing}的颜色是{colour}色。",
    "我们都知道{thing}是{colour}色的。",
    "{thing}是什么颜色？是{colour}色。",
    "画{thing}要用{colour}色的颜料。",
    "像{thing}一样的颜色，就是{colour}色。",
    "图画书里的{thing}也是{colour}色的。",
)
OPPOSITE = (
    "“{left}”的反义词是“{right}”。",
    "“{right}”的反义词是“{left}”。",
    "“{left}”和“{right}”是一对反义词。",
    "“{right}”和“{left}”意思相反。",
    "和“{left}”相反的是“{right}”。",
    "和“{right}”相反的是“{left}”。",
    "我说“{left}”，你说“{right}”。",
    "我说“{right}”，你说“{left}”。",
    "不是{left}，就是{right}。",
)
MEASURE = (
    "{place}有一{unit}{noun}。",
    "我看见{place}有一{unit}{noun}。",
    "{place}原来有两{unit}{noun}，现在只剩一{unit}了。",
    "这{unit}{noun}是谁的？",
    "那{unit}{noun}真好看。",
    "他画了一{unit}{noun}。",
    "一{unit}{noun}，两{unit}{noun}，三{unit}{noun}，数也数不完。",
    "故事里讲的是一{unit}{noun}。",
    "{place}的那{unit}{noun}不见了。",
)

JOB = (
    "{job}的工作是{work}。",
    "{job}每天{work}。",
    "谁{work}？是{job}。",
    "{job}会{work}，这是他的本领。",
    "要是没有{job}，谁来{work}呢？",
)
JOB_TOOL = (
    "{job}离不开{tool}。",
    "{job}手里常常拿着{tool}。",
    "看到{tool}，就会想起{job}。",
)
JOB_PLACE = (
    "{job}在{place}工作。",
    "天还没亮，{job}就来到{place}。",
    "{place}是{job}上班的地方。",
)
JOB_WISH = (
    "{child}长大以后想当{job}。",
    "{child}给{job}画了一张像。",
    "{child}在作文里写了一位{job}。",
)

TASTE = (
    "{food}是{taste}的。",
    "{food}的味道是{taste}的。",
    "{food}尝起来很{taste}。",
    "{child}尝了一口{food}，说：“真{taste}啊！”",
    "一尝{food}，嘴里就{taste}{taste}的。",
    "谁都知道{food}{taste}。",
    "这么{taste}，一定是{food}。",
)
FESTIVAL = (
    "{festival}是{date}。",
    "{date}是{festival}。",
    "{festival}要吃{eat}。",
    "{festival}那天，家家户户吃{eat}。",
    "到了{festival}，人们{custom}。",
    "{festival}的习俗是{custom}。",
    "奶奶做的{eat}最好吃，可惜只有{festival}才做。",
    "{child}盼着过{festival}，因为可以吃{eat}。",
)
FAMILY = (
    "{member}是一种{family}。",
    "{member}属于{family}。",
    "在各种{family}里，我最喜欢{member}。",
    "{member}是{family}吗？是的，{member}是{family}。",
    "说到{family}，我先想到{member}。",
)
MATERIAL = (
    "{item}是用{material}做的。",
    "{item}是什么做的？是{material}做的。",
    "{material}可以做{item}。",
    "做{item}需要{material}。",
)
USE = (
    "{thing}可以用来{action}。",
    "我们用{thing}{action}。",
    "没有{thing}就没法{action}。",
    "{action}要用{thing}。",
    "{thing}有什么用？用来{action}。",
)
IDIOM = (
    "“{idiom}”的意思是{sense}。",
    "成语“{idiom}”说的是{sense}。",
    "{usage}，这就叫“{idiom}”。",
    "老师用“{idiom}”造句：{usage}，正是{idiom}。",
    "{sense}，可以用“{idiom}”来形容。",
)

SEASON_ORDER = (
    "{before}过去了，{season}来了。",
    "{season}在{before}后面。",
    "{season}过后就是{after}。",
    "过完{season}，{after}就到了。",
    "{before}和{after}之间是{season}。",
)
SEASON_MOOD = (
    "{season}的天气很{weather}。",
    "{season}到了，{signs}。",
    "{season}要穿{wear}。",
    "{season}里，孩子们喜欢{joy}。",
    "{child}最喜欢{season}，因为可以{joy}。",
    "你看，{signs}，这就是{season}。",
    "天气{weather}，又到了{joy}的{season}。",
)
NEXT_DAY = (
    "{day}的后一天是{next}。",
    "{next}的前一天是{day}。",
    "今天是{day}，明天是{next}。",
    "今天是{next}，昨天是{day}。",
    "过了{day}就是{next}。",
    "{next}在{day}后面。",
)
NEXT_MONTH = (
    "{day}过后是{next}。",
    "{next}的前面是{day}。",
    "这个月是{day}，下个月是{next}。",
    "这个月是{next}，上个月是{day}。",
)
NEXT_SIGN = (
    "十二生肖里，{day}的后面是{next}。",
    "十二生肖里，{next}排在{day}后面。",
    "去年是{day}年，今年是{next}年。",
    "今年是{day}年，明年是{next}年。",
)
SUM = (
    "{x}加{y}等于{z}。",
    "{x}加上{y}是{z}。",
    "{z}减{y}等于{x}。",
    "{z}减去{y}还剩{x}。",
    "{x}加{y}等于几？等于{z}。",
    "{x}和{y}合起来是{z}。",
)
SUM_STORY = (
    "{child}有{x}{good_unit}{good}，{sibling}又给了{ta}{y}{good_unit}，现在{ta}有{z}{good_unit}{good}。",
    "桌上有{z}{good_unit}{good}，{child}拿走{y}{good_unit}，还剩{x}{good_unit}。",
    "{child}上午买了{x}{good_unit}{good}，下午又买了{y}{good_unit}，一共买了{z}{good_unit}。",
    "{child}把{z}{good_unit}{good}分成两份，一份{x}{good_unit}，一份{y}{good_unit}。",
)

RELATION = (
    "{who}叫{name}。",
    "{who}是我的{name}。",
    "我们管{who}叫{name}。",
    "{name}就是{who}。",
    "{who}应该怎么称呼？应该叫{name}。",
)
SIBLINGS = (
    "{child}今年{age}岁。",
    "{sibling}是{child}的{sibling_is}。",
    "{child}的{sibling_is}叫{sibling}。",
    "{child}养了一只{pet_kind}，名字叫{pet}。",
    "{pet}是{child}的{pet_kind}。",
    "{child}喜欢{hobby}。",
    "一放学，{child}就忙着{hobby}。",
    "{child}过生日的时候想要{wish}。",
    "{child}一回家，{pet}就迎上来。",
)
NEIGHBOUR = (
    "{adult}是青石镇的{role}。",
    "青石镇的{role}就是{adult}。",
    "{adult}在{shop}干活。",
    "要找{adult}，就去{shop}。",
    "{adult}{habit}。",
    "镇上的人都知道，{adult}{habit}。",
    "见到孩子，{adult}总要送{gift}。",
    "{adult}当{role}已经三十年了。",
)
LESSON_OPENINGS = (
    "老师提问，同学们抢着回答。",
    "今天的语文课上，我们学了这些。",
    "{child}帮{sibling}复习功课。",
    "{child}在本子上写下这几句话。",
    "吃过晚饭，爷爷又来考我们。",
    "猜一猜，想一想。",
    "白老师给大家念百科全书。",
    "下面是常识小测验。",
)
LESSON_CLOSINGS = (
    "你都记住了吗？",
    "说完，下课铃响了。",
    "{child}全都答对了。",
    "今天就学到这里。",
    "老师满意地点点头。",
    "明天再学新的。",
)


def _framed(d: Dealer, sentences: list[str]) -> str:
    """The sentences as one text, sometimes with a line of schoolroom before and after."""
    child = d.one(CHILDREN)
    if d.chance(0.3):
        sentences = [d.say(LESSON_OPENINGS, child), *sentences]
    if d.chance(0.15):
        sentences = [*sentences, d.say(LESSON_CLOSINGS, child)]
    return "".join(sentences)


def country(d: Dealer) -> str:
    """A portrait of one country."""
    fact = d.one(COUNTRIES)
    return "".join(d.say_all(d.some(COUNTRY_FACETS, d.between(2, 6)), fact))


def capitals(d: Dealer) -> str:
    """One kind of fact about several countries."""
    group = d.one((CAPITAL, CAPITAL, COUNTRY_QUESTION, LANGUAGE, CONTINENT, DISH))
    return _framed(d, [d.say(group, fact) for fact in d.some(COUNTRIES, d.between(2, 6))])


def provinces(d: Dealer) -> str:
    """A few Chinese provinces, or one at length."""
    if d.chance(0.5):
        fact = d.one(PROVINCES)
        return "".join(dict.fromkeys(d.say(PROVINCE, fact) for _ in range(d.between(2, 5))))
    return _framed(d, [d.say(PROVINCE, fact) for fact in d.some(PROVINCES, d.between(2, 5))])


def animal(d: Dealer) -> str:
    """A portrait of one animal, or one kind of fact about several."""
    if d.chance(0.5):
        fact = d.one(ANIMALS)
        return "".join(dict.fromkeys(d.say_all(d.some(ANIMAL_FACETS, d.between(2, 4)), fact)))
    facet = d.one(ANIMAL_FACETS)
    return _framed(d, [d.say(facet, fact) for fact in d.some(ANIMALS, d.between(2, 6))])


def calls(d: Dealer) -> str:
    """The calls of a few animals."""
    return _framed(d, [d.say(CALL, fact) for fact in d.some(CALLS, d.between(2, 5))])


def colours(d: Dealer) -> str:
    """The colours of a few things."""
    return _framed(d, [d.say(COLOUR, fact) for fact in d.some(COLOURS, d.between(2, 6))])


def opposites(d: Dealer) -> str:
    """One pair of opposites with its example, or several pairs without."""
    if d.chance(0.5):
        pair = d.one(OPPOSITES)
        return "".join([*(d.say(OPPOSITE, pair) for _ in range(d.between(1, 2))), pair.example])
    return _framed(d, [d.say(OPPOSITE, pair) for pair in d.some(OPPOSITES, d.between(3, 6))])


def measures(d: Dealer) -> str:
    """Nouns with their measure words."""
    return _framed(d, [d.say(MEASURE, fact) for fact in d.some(MEASURES, d.between(2, 6))])


def jobs(d: Dealer) -> str:
    """One job at length, or several jobs in a sentence each."""
    child = d.one(CHILDREN)
    if d.chance(0.4):
        return _framed(d, [d.say(JOB, job) for job in d.some(JOBS, d.between(2, 5))])
    facets = d.some((JOB, JOB_TOOL, JOB_PLACE, JOB_WISH), d.between(2, 4))
    return "".join(d.say_all(facets, d.one(JOBS), child))


def tastes(d: Dealer) -> str:
    """How some foods taste."""
    foods = d.some(FOODS, d.between(2, 5))
    return _framed(d, [d.say(TASTE, food, d.one(CHILDREN)) for food in foods])


def festivals(d: Dealer) -> str:
    """One festival at length, or several in a sentence each."""
    child = d.one(CHILDREN)
    if d.chance(0.5):
        fact = d.one(FESTIVALS)
        sentences = [d.say(FESTIVAL, fact, child) for _ in range(d.between(2, 5))]
        return "".join(dict.fromkeys(sentences))
    facts = d.some(FESTIVALS, d.between(2, 4))
    return _framed(d, [d.say(FESTIVAL, fact, child) for fact in facts])


def families(d: Dealer) -> str:
    """Which flower, bird or instrument belongs to which family."""
    return _framed(d, [d.say(FAMILY, kind) for kind in d.some(KINDS, d.between(2, 5))])


def materials(d: Dealer) -> str:
    """What things are made of and what they are used for."""
    made = [d.say(MATERIAL, fact) for fact in d.some(MATERIALS, d.between(1, 3))]
    used = [d.say(USE, fact) for fact in d.some(USES, d.between(1, 4))]
    return "".join(made + used if d.chance(0.5) else used + made)


def idioms(d: Dealer) -> str:
    """One or two idioms and their meaning."""
    facts = d.some(IDIOMS, d.between(1, 2))
    return _framed(d, [d.say(IDIOM, fact) for fact in facts for _ in range(3 - len(facts))])


def seasons(d: Dealer) -> str:
    """One season: its neighbours in the year, its weather and its pleasures."""
    season, child = d.one(SEASONS), d.one(CHILDREN)
    sentences = [d.say(SEASON_ORDER, season)]
    sentences += [d.say(SEASON_MOOD, season, child) for _ in range(d.between(1, 4))]
    return "".join(dict.fromkeys(sentences))


def calendar(d: Dealer) -> str:
    """The order of a few days, months or zodiac animals."""
    patterns, names = d.one(((NEXT_DAY, DAYS), (NEXT_MONTH, MONTHS), (NEXT_SIGN, ZODIAC)))
    start = d.between(0, len(names) - 1)
    sentences = []
    for i in range(start, start + d.between(2, 5)):
        day, following = names[i % len(names)], names[(i + 1) % len(names)]
        sentences.append(d.say(patterns, day=day, next=following))
    return _framed(d, sentences)


def sums(d: Dealer) -> str:
    """A little arithmetic in words, bare or told as a story."""
    sentences = []
    story = d.chance(0.4)
    for _ in range(d.between(1, 2) if story else d.between(2, 6)):
        low = 3 if story else 1
        x, y = d.between(low, 9), d.between(low, 6)
        words = {"x": NUMBERS[x], "y": NUMBERS[y], "z": NUMBERS[x + y]}
        patterns = SUM_STORY if story else SUM
        sentences.append(d.say(patterns, d.one(CHILDREN), d.one(GOODS), **words))
    return "".join(sentences) if story else _framed(d, sentences)


def household(d: Dealer) -> str:
    """The children of Qingshi, and what relatives are called."""
    child = d.one(CHILDREN)
    sentences = [d.say(SIBLINGS, child) for _ in range(d.between(2, 5))]
    if d.chance(0.6):
        relatives = [d.say(RELATION, fact) for fact in d.some(RELATIONS, d.between(1, 4))]
        sentences = relatives if d.chance(0.5) else sentences + relatives
    return "".join(dict.fromkeys(sentences))


def neighbours(d: Dealer) -> str:
    """A grown-up of Qingshi, or a walk past several."""
    if d.chance(0.5):
        adult = d.one(NEIGHBOURS)
        return "".join(dict.fromkeys(d.say(NEIGHBOUR, adult) for _ in range(d.between(2, 4))))
    return "".join(d.say(NEIGHBOUR, adult) for adult in d.some(NEIGHBOURS, d.between(2, 4)))


LESSONS: tuple[tuple[DocumentKind, int], ...] = (
    (country, 9),
    (capitals, 7),
    (provinces, 4),
    (animal, 8),
    (calls, 4),
    (colours, 6),
    (opposites, 9),
    (measures, 9),
    (jobs, 6),
    (tastes, 5),
    (festivals, 4),
    (families, 4),
    (materials, 5),
    (idioms, 3),
    (seasons, 5),
    (calendar, 6),
    (sums, 5),
    (household, 4),
    (neighbours, 3),
)
"""Each kind of lesson and its share of the corpus."""
