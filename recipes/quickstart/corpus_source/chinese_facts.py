"""What is true in the Chinese half of the corpus: places, animals, festivals, people and more."""

# ruff: noqa: RUF001

from __future__ import annotations

from typing import NamedTuple


class Country(NamedTuple):
    """A country, with one thing worth knowing about it for every kind of sentence."""

    country: str
    capital: str
    language: str
    continent: str
    dish: str
    lies: str
    sight: str


COUNTRIES = (
    Country("中国", "北京", "汉语", "亚洲", "饺子", "华北平原上", "长城"),
    Country("日本", "东京", "日语", "亚洲", "寿司", "海湾边上", "富士山"),
    Country("韩国", "首尔", "韩语", "亚洲", "泡菜", "汉江两岸", "景福宫"),
    Country("泰国", "曼谷", "泰语", "亚洲", "芒果糯米饭", "湄南河边", "大皇宫"),
    Country("越南", "河内", "越南语", "亚洲", "米粉", "红河边", "还剑湖"),
    Country("印度", "新德里", "印地语", "亚洲", "咖喱饭", "恒河平原上", "泰姬陵"),
    Country("土耳其", "安卡拉", "土耳其语", "亚洲", "烤羊肉", "高原上", "热气球"),
    Country("法国", "巴黎", "法语", "欧洲", "奶酪", "塞纳河边", "埃菲尔铁塔"),
    Country("英国", "伦敦", "英语", "欧洲", "炸鱼和薯条", "泰晤士河边", "大本钟"),
    Country("德国", "柏林", "德语", "欧洲", "香肠", "施普雷河边", "古老的城门"),
    Country("意大利", "罗马", "意大利语", "欧洲", "比萨饼", "台伯河边", "斗兽场"),
    Country("西班牙", "马德里", "西班牙语", "欧洲", "海鲜饭", "高原上", "王宫"),
    Country("葡萄牙", "里斯本", "葡萄牙语", "欧洲", "蛋挞", "大河的入海口", "老电车"),
    Country("俄罗斯", "莫斯科", "俄语", "欧洲", "红菜汤", "莫斯科河边", "红场"),
    Country("希腊", "雅典", "希腊语", "欧洲", "橄榄", "蓝色的大海旁", "古代神庙"),
    Country("波兰", "华沙", "波兰语", "欧洲", "酸菜汤", "维斯瓦河边", "老城广场"),
    Country("奥地利", "维也纳", "德语", "欧洲", "苹果卷", "多瑙河边", "音乐厅"),
    Country("匈牙利", "布达佩斯", "匈牙利语", "欧洲", "炖牛肉", "多瑙河两岸", "链子桥"),
    Country("荷兰", "阿姆斯特丹", "荷兰语", "欧洲", "鲱鱼", "一条条运河边", "风车"),
    Country("挪威", "奥斯陆", "挪威语", "欧洲", "三文鱼", "峡湾的尽头", "海盗船"),
    Country("埃及", "开罗", "阿拉伯语", "非洲", "烤饼", "尼罗河边", "金字塔"),
    Country("加拿大", "渥太华", "英语", "北美洲", "枫糖", "渥太华河边", "大瀑布"),
    Country("古巴", "哈瓦那", "西班牙语", "北美洲", "炸香蕉", "加勒比海边", "老城堡"),
    Country("巴西", "巴西利亚", "葡萄牙语", "南美洲", "黑豆饭", "高原上", "热带雨林"),
    Country("秘鲁", "利马", "西班牙语", "南美洲", "土豆", "太平洋岸边", "山上的古城"),
)


class Province(NamedTuple):
    """A Chinese province, its main city, a delicacy and a sight."""

    province: str
    city: str
    treat: str
    spot: str


PROVINCES = (
    Province("四川", "成都", "火锅", "大熊猫"),
    Province("广东", "广州", "早茶", "珠江夜景"),
    Province("陕西", "西安", "羊肉泡馍", "兵马俑"),
    Province("浙江", "杭州", "龙井茶", "西湖"),
    Province("江苏", "南京", "盐水鸭", "秦淮河"),
    Province("山东", "济南", "煎饼", "趵突泉"),
    Province("云南", "昆明", "过桥米线", "石林"),
    Province("湖北", "武汉", "热干面", "黄鹤楼"),
    Province("湖南", "长沙", "臭豆腐", "岳麓山"),
    Province("福建", "福州", "鱼丸", "土楼"),
    Province("河南", "郑州", "烩面", "少林寺"),
    Province("甘肃", "兰州", "牛肉面", "黄河铁桥"),
    Province("海南", "海口", "椰子", "沙滩"),
    Province("黑龙江", "哈尔滨", "红肠", "冰灯"),
)


class Animal(NamedTuple):
    """An animal, its measure word, its food, its home and what it is known for."""

    animal: str
    unit: str
    food: str
    home: str
    trait: str


ANIMALS = (
    Animal("牛", "头", "草", "牛棚里", "力气很大，会耕地"),
    Animal("羊", "只", "树叶", "羊圈里", "身上的毛又软又暖"),
    Animal("马", "匹", "干草", "马棚里", "跑得飞快"),
    Animal("猪", "头", "白菜", "猪圈里", "吃饱了就睡觉"),
    Animal("狗", "只", "骨头", "狗窝里", "会看家"),
    Animal("猫", "只", "鱼", "篮子里", "会捉老鼠"),
    Animal("母鸡", "只", "小米", "鸡窝里", "每天下一个蛋"),
    Animal("公鸡", "只", "虫子", "院子里", "天一亮就打鸣"),
    Animal("鸭子", "只", "小虾", "池塘边", "游泳游得好"),
    Animal("青蛙", "只", "害虫", "荷塘里", "小时候是蝌蚪"),
    Animal("老鼠", "只", "大米", "墙洞里", "最怕猫"),
    Animal("蜜蜂", "只", "花蜜", "蜂箱里", "会酿蜂蜜"),
    Animal("兔子", "只", "胡萝卜", "地洞里", "耳朵长，尾巴短"),
    Animal("猴子", "只", "桃子", "树林里", "很会爬树"),
    Animal("老虎", "只", "肉", "深山里", "是森林之王"),
    Animal("熊猫", "只", "竹子", "竹林里", "长着两个黑眼圈"),
    Animal("大象", "头", "香蕉", "热带森林里", "鼻子又长又灵活"),
    Animal("松鼠", "只", "松果", "树洞里", "尾巴像一把小伞"),
    Animal("骆驼", "头", "干草", "沙漠里", "背上有驼峰，不怕渴"),
    Animal("蚕", "条", "桑叶", "竹匾里", "会吐丝"),
    Animal("燕子", "只", "飞虫", "屋檐下", "秋天飞到南方去"),
    Animal("乌龟", "只", "小鱼", "水缸里", "背着一个硬壳"),
)


class Call(NamedTuple):
    """An animal and its call."""

    animal: str
    sound: str


CALLS = (
    Call("牛", "哞哞"),
    Call("羊", "咩咩"),
    Call("狗", "汪汪"),
    Call("猫", "喵喵"),
    Call("猪", "哼哼"),
    Call("母鸡", "咯咯"),
    Call("公鸡", "喔喔"),
    Call("鸭子", "嘎嘎"),
    Call("青蛙", "呱呱"),
    Call("老鼠", "吱吱"),
    Call("蜜蜂", "嗡嗡"),
    Call("小鸡", "叽叽"),
    Call("布谷鸟", "布谷"),
    Call("马", "咴咴"),
)


class Thing(NamedTuple):
    """A thing and the colour that everybody knows it by."""

    thing: str
    colour: str


COLOURS = tuple(
    Thing(thing, colour)
    for colour, things in (
        ("白", "雪 牛奶 盐 棉花 豆腐"),
        ("绿", "小草 树叶 黄瓜 菠菜 西瓜皮"),
        ("蓝", "天空 大海 湖水 牵牛花"),
        ("红", "西红柿 草莓 国旗 消防车 樱桃"),
        ("黄", "香蕉 柠檬 向日葵 玉米 小鸭子"),
        ("黑", "煤 乌鸦 墨水 夜空"),
        ("紫", "茄子 葡萄 薰衣草"),
        ("橙", "橘子 胡萝卜 南瓜"),
        ("灰", "大象 老鼠 乌云 水泥"),
        ("棕", "巧克力 栗子 树干"),
        ("粉", "桃花 荷花 小猪"),
    )
    for thing in things.split()
)


class Pair(NamedTuple):
    """Two opposite words and a sentence that shows the difference."""

    left: str
    right: str
    example: str


OPPOSITES = (
    Pair("大", "小", "大象很大，蚂蚁很小。"),
    Pair("多", "少", "书架上的书多，桌上的书少。"),
    Pair("高", "矮", "哥哥长得高，弟弟长得矮。"),
    Pair("长", "短", "长颈鹿的脖子长，小猪的脖子短。"),
    Pair("冷", "热", "冬天冷，夏天热。"),
    Pair("黑", "白", "熊猫的眼圈黑，肚皮白。"),
    Pair("快", "慢", "兔子跑得快，乌龟爬得慢。"),
    Pair("新", "旧", "新书包是红的，旧书包是蓝的。"),
    Pair("轻", "重", "羽毛很轻，石头很重。"),
    Pair("胖", "瘦", "胖的那只猫爱睡觉，瘦的那只爱跑。"),
    Pair("远", "近", "学校离家很近，车站离家很远。"),
    Pair("深", "浅", "湖水深，溪水浅。"),
    Pair("早", "晚", "张师傅起得早，睡得也不晚。"),
    Pair("软", "硬", "枕头软，木板硬。"),
    Pair("粗", "细", "树干粗，树枝细。"),
    Pair("厚", "薄", "棉被厚，毯子薄。"),
    Pair("宽", "窄", "马路宽，小巷窄。"),
    Pair("前", "后", "房子前面是花园，后面是竹林。"),
    Pair("左", "右", "左边是邮局，右边是书店。"),
    Pair("上", "下", "猫在桌子上，狗在桌子下。"),
    Pair("里", "外", "屋里很暖和，屋外下着雪。"),
    Pair("开", "关", "早上开窗，晚上关窗。"),
    Pair("来", "去", "燕子春天来，秋天去。"),
    Pair("买", "卖", "有人买菜，有人卖菜。"),
    Pair("借", "还", "借了书，要记得按时还。"),
    Pair("哭", "笑", "弟弟刚才还在哭，现在又笑了。"),
    Pair("输", "赢", "比赛有输有赢，不必难过。"),
    Pair("真", "假", "这朵花是真的，那朵花是假的。"),
    Pair("干", "湿", "毛巾是干的，头发是湿的。"),
    Pair("香", "臭", "桂花香，臭豆腐闻着臭。"),
    Pair("高兴", "难过", "赢了球，大家高兴；输了球，大家难过。"),
    Pair("安静", "吵闹", "图书馆里很安静，市场上很吵闹。"),
    Pair("勤劳", "懒惰", "蚂蚁勤劳，故事里的蝉却很懒惰。"),
    Pair("干净", "肮脏", "洗过的碗很干净，没洗的碗很肮脏。"),
    Pair("勇敢", "胆小", "勇敢的孩子走在前头，胆小的跟在后头。"),
    Pair("聪明", "愚蠢", "聪明的狐狸骗走了愚蠢的乌鸦嘴里的肉。"),
    Pair("容易", "困难", "说起来容易，做起来困难。"),
    Pair("开始", "结束", "电影七点开始，九点结束。"),
    Pair("成功", "失败", "失败是成功之母。"),
    Pair("简单", "复杂", "第一道题简单，最后一道题复杂。"),
    Pair("增加", "减少", "春天河水增加，冬天河水减少。"),
    Pair("整齐", "凌乱", "姐姐的书桌很整齐，弟弟的书桌很凌乱。"),
    Pair("光明", "黑暗", "灯一亮，黑暗的屋子变得光明。"),
    Pair("粗心", "细心", "粗心的人常丢东西，细心的人很少丢。"),
    Pair("骄傲", "谦虚", "谦虚使人进步，骄傲使人落后。"),
    Pair("朋友", "敌人", "多一个朋友，就少一个敌人。"),
)


class Measure(NamedTuple):
    """A noun with the measure word that it demands, and where one may see it."""

    unit: str
    noun: str
    place: str


MEASURES = tuple(
    Measure(unit, noun, place)
    for unit, nouns in (
        ("本", "书/书包里 词典/书架上 日记/抽屉里"),
        ("支", "铅笔/文具盒里 毛笔/书桌上 蜡烛/窗台上"),
        ("张", "桌子/教室里 地图/墙上 邮票/信封上 床/房间里"),
        ("把", "椅子/门口 雨伞/墙角 剪刀/抽屉里 钥匙/口袋里"),
        ("条", "鱼/池塘里 小河/村边 毛巾/架子上 裤子/衣柜里 小路/山坡上"),
        ("只", "鸟/树上 小猫/屋顶上 蝴蝶/花园里 羊/山坡上"),
        ("头", "牛/田里 大象/动物园里 猪/圈里"),
        ("匹", "马/草地上"),
        ("辆", "汽车/马路上 自行车/院子里 公共汽车/车站"),
        ("座", "山/镇子北边 石桥/小河上 宝塔/山顶上"),
        ("棵", "松树/山上 柳树/河边 白菜/菜园里"),
        ("朵", "花/花瓶里 白云/天上 荷花/水面上"),
        ("件", "毛衣/衣柜里 大衣/衣架上 衬衫/床上"),
        ("双", "鞋/床下 筷子/桌上 手套/口袋里"),
        ("杯", "茶/桌上 牛奶/托盘里 果汁/柜台上"),
        ("碗", "面/桌上 米饭/饭桌上 鸡汤/托盘里"),
        ("封", "信/邮筒里"),
        ("架", "飞机/机场上 钢琴/客厅里"),
        ("艘", "轮船/海上 飞船/太空里"),
        ("顶", "帽子/衣架上 帐篷/湖边"),
        ("面", "镜子/墙上 红旗/操场上 鼓/舞台上"),
        ("扇", "窗户/墙上 大门/院子前"),
        ("盏", "灯/书桌上"),
        ("幅", "画/客厅里"),
        ("块", "手表/盒子里 豆腐/盘子里 蛋糕/盘子里 石头/路边"),
        ("台", "电脑/办公室里 电视机/客厅里"),
        ("瓶", "醋/厨房里 酱油/货架上"),
        ("根", "绳子/地上 针/针线盒里 香蕉/篮子里"),
        ("颗", "星星/夜空里 糖/手心里 种子/泥土里"),
        ("串", "葡萄/藤上 鞭炮/门前"),
        ("口", "井/院子里 铁锅/灶上"),
        ("道", "彩虹/天边 数学题/黑板上"),
        ("群", "孩子/操场上 大雁/天上"),
    )
    for noun, place in (item.split("/") for item in nouns.split())
)


class Job(NamedTuple):
    """A job, where it is done, what the work is and the tool it takes."""

    job: str
    place: str
    work: str
    tool: str


JOBS = (
    Job("医生", "医院", "给病人看病", "听诊器"),
    Job("老师", "学校", "教学生读书", "粉笔"),
    Job("农民", "田里", "种庄稼", "锄头"),
    Job("厨师", "厨房", "炒菜做饭", "铁锅"),
    Job("理发师", "理发店", "剪头发", "剪刀"),
    Job("司机", "马路上", "开汽车", "方向盘"),
    Job("木匠", "木工房", "做家具", "锯子"),
    Job("裁缝", "裁缝铺", "做衣服", "针线"),
    Job("渔民", "船上", "捕鱼", "渔网"),
    Job("画家", "画室", "画画", "画笔"),
    Job("记者", "报社", "写新闻", "录音笔"),
    Job("交通警察", "路口", "指挥车辆", "哨子"),
    Job("消防员", "消防队", "灭火救人", "水枪"),
    Job("邮递员", "邮局", "送信送报", "邮包"),
    Job("护士", "病房", "照顾病人", "体温计"),
    Job("飞行员", "机场", "开飞机", "驾驶杆"),
    Job("歌手", "舞台", "唱歌", "话筒"),
    Job("铁匠", "铁匠铺", "打铁", "锤子"),
    Job("摄影师", "照相馆", "拍照片", "照相机"),
    Job("园丁", "花园", "种花修树", "铲子"),
    Job("面包师", "面包房", "烤面包", "烤箱"),
    Job("牧民", "草原", "放羊", "鞭子"),
    Job("矿工", "矿井", "挖煤", "矿灯"),
    Job("建筑工人", "工地", "盖房子", "起重机"),
)


class Food(NamedTuple):
    """Something to eat and how it tastes."""

    food: str
    taste: str


FOODS = tuple(
    Food(food, taste)
    for taste, foods in (
        ("甜", "白糖 蜂蜜 西瓜 巧克力 甘蔗"),
        ("酸", "柠檬 醋 山楂 青梅 酸奶"),
        ("咸", "海水 酱油 咸菜 盐 腊肉"),
        ("苦", "中药 苦瓜 黄连 咖啡 莲心"),
        ("辣", "辣椒 生姜 大蒜 芥末 火锅底料"),
    )
    for food in foods.split()
)


class Festival(NamedTuple):
    """A festival, its date in the old calendar, its food and its custom."""

    festival: str
    date: str
    eat: str
    custom: str


FESTIVALS = (
    Festival("春节", "正月初一", "饺子", "贴春联，放鞭炮"),
    Festival("元宵节", "正月十五", "汤圆", "看花灯，猜灯谜"),
    Festival("清明节", "四月五日前后", "青团", "扫墓，放风筝"),
    Festival("端午节", "五月初五", "粽子", "赛龙舟，挂艾草"),
    Festival("中秋节", "八月十五", "月饼", "赏月，猜谜语"),
    Festival("重阳节", "九月初九", "重阳糕", "登高，赏菊花"),
    Festival("腊八节", "腊月初八", "腊八粥", "泡腊八蒜，准备过年"),
)


class Use(NamedTuple):
    """A common object and what people do with it."""

    thing: str
    action: str


USES = (
    Use("钥匙", "开门"),
    Use("雨伞", "挡雨"),
    Use("剪刀", "剪纸"),
    Use("扫帚", "扫地"),
    Use("肥皂", "洗手"),
    Use("勺子", "喝汤"),
    Use("钟表", "看时间"),
    Use("毛巾", "擦脸"),
    Use("水壶", "烧水"),
    Use("地图", "找路"),
    Use("尺子", "量长短"),
    Use("针线", "缝衣服"),
    Use("冰箱", "保存食物"),
    Use("眼睛", "看东西"),
    Use("耳朵", "听声音"),
    Use("鼻子", "闻气味"),
    Use("双脚", "走路"),
    Use("指南针", "辨方向"),
    Use("秤", "称重量"),
    Use("牙刷", "刷牙"),
)


class Material(NamedTuple):
    """A thing and what it is made of."""

    item: str
    material: str


MATERIALS = (
    Material("窗户", "玻璃"),
    Material("书桌", "木头"),
    Material("毛衣", "羊毛"),
    Material("戒指", "金子"),
    Material("豆腐", "黄豆"),
    Material("面包", "面粉"),
    Material("轮胎", "橡胶"),
    Material("砖头", "泥土"),
    Material("衬衫", "棉布"),
    Material("丝绸", "蚕丝"),
    Material("锅", "铁"),
    Material("皮鞋", "牛皮"),
    Material("报纸", "纸"),
    Material("葡萄酒", "葡萄"),
)


class Kind(NamedTuple):
    """A thing and the family that it belongs to."""

    member: str
    family: str


KINDS = tuple(
    Kind(member, family)
    for family, members in (
        ("花", "玫瑰 牡丹 菊花 荷花 梅花"),
        ("水果", "苹果 梨 葡萄 荔枝 西瓜"),
        ("蔬菜", "白菜 萝卜 芹菜 茄子 菠菜"),
        ("鸟", "麻雀 燕子 喜鹊 孔雀 老鹰"),
        ("昆虫", "蚂蚁 蝴蝶 蜻蜓 蝉 蟋蟀"),
        ("乐器", "钢琴 二胡 笛子 琵琶 古筝"),
        ("交通工具", "汽车 火车 飞机 轮船 自行车"),
        ("家具", "桌子 椅子 柜子 沙发 书架"),
        ("文具", "铅笔 橡皮 尺子 本子 圆规"),
        ("球类运动", "足球 篮球 乒乓球 羽毛球 排球"),
    )
    for member in members.split()
)


class Relation(NamedTuple):
    """A relative and the word for them."""

    who: str
    name: str


RELATIONS = (
    Relation("爸爸的爸爸", "爷爷"),
    Relation("爸爸的妈妈", "奶奶"),
    Relation("妈妈的爸爸", "外公"),
    Relation("妈妈的妈妈", "外婆"),
    Relation("爸爸的哥哥", "伯伯"),
    Relation("爸爸的弟弟", "叔叔"),
    Relation("爸爸的妹妹", "姑姑"),
    Relation("妈妈的弟弟", "舅舅"),
    Relation("妈妈的妹妹", "小姨"),
    Relation("叔叔的儿子", "堂弟"),
    Relation("舅舅的女儿", "表妹"),
)


class Idiom(NamedTuple):
    """A proverbial phrase, what it means and where one would use it."""

    idiom: str
    sense: str
    usage: str


IDIOMS = (
    Idiom("画蛇添足", "做了多余的事，反而坏事", "文章写完又硬加一段"),
    Idiom("守株待兔", "不肯努力，只等好运", "整天躺着等钱从天上掉下来"),
    Idiom("亡羊补牢", "出了错及时改正，还不算晚", "考砸一次以后认真复习"),
    Idiom("井底之蛙", "见识很少的人", "没出过门却以为什么都懂"),
    Idiom("掩耳盗铃", "自己欺骗自己", "把坏成绩藏起来当作没有"),
    Idiom("对牛弹琴", "说话不看对象", "给小娃娃讲天文学"),
    Idiom("一举两得", "做一件事得到两种好处", "骑车上学又省钱又锻炼身体"),
    Idiom("半途而废", "事情没做完就停下", "学琴三天就不学了"),
    Idiom("愚公移山", "有恒心，不怕困难", "一铲一铲地把水渠挖通"),
    Idiom("雪中送炭", "在别人最需要的时候帮忙", "下雨天给同学送伞"),
    Idiom("滴水穿石", "坚持下去就能成功", "每天背十个单词"),
    Idiom("马马虎虎", "做事不认真", "作业写得错字连篇"),
)


class Season(NamedTuple):
    """A season, its neighbours in the year and what it looks like."""

    season: str
    before: str
    after: str
    weather: str
    wear: str
    joy: str
    signs: str


SEASONS = (
    Season("春天", "冬天", "夏天", "暖和", "薄外套", "放风筝", "冰雪融化，燕子归来"),
    Season("夏天", "春天", "秋天", "炎热", "短袖衫", "游泳", "知了叫个不停，荷花开满池塘"),
    Season("秋天", "夏天", "冬天", "凉爽", "长袖衫", "摘苹果", "树叶变黄，大雁南飞"),
    Season("冬天", "秋天", "春天", "寒冷", "棉袄", "堆雪人", "河水结冰，北风呼呼地吹"),
)

DAYS = ("星期一", "星期二", "星期三", "星期四", "星期五", "星期六", "星期天")
NUMBERS = ("零", "一", "二", "三", "四", "五", "六", "七", "八", "九", "十",
           "十一", "十二", "十三", "十四", "十五", "十六", "十七", "十八")  # fmt: skip
MONTHS = tuple(f"{number}月" for number in NUMBERS[1:13])
COUNTS = ("零", "一", "两", *NUMBERS[3:])
ZODIAC = ("鼠", "牛", "虎", "兔", "龙", "蛇", "马", "羊", "猴", "鸡", "狗", "猪")


class Child(NamedTuple):
    """A child of Qingshi; the same child has the same pet and the same hobby in every text."""

    child: str
    ta: str
    age: str
    sibling: str
    sibling_is: str
    pet_kind: str
    pet: str
    hobby: str
    wish: str


CHILDREN = (
    Child("小雨", "她", "八", "小山", "哥哥", "小猫", "咪咪", "画画", "一盒彩色铅笔"),
    Child("小山", "他", "十", "小雨", "妹妹", "小狗", "大黄", "做风筝", "一个指南针"),
    Child("乐乐", "她", "九", "豆豆", "弟弟", "兔子", "雪球", "吹笛子", "一本新乐谱"),
    Child("豆豆", "他", "七", "乐乐", "姐姐", "鹦鹉", "将军", "捡石头", "一架望远镜"),
    Child("思思", "她", "十一", "明明", "弟弟", "鸽子", "云朵", "跳舞", "一双红舞鞋"),
    Child("明明", "他", "六", "思思", "姐姐", "乌龟", "慢慢", "看火车", "一列玩具火车"),
)


class Neighbour(NamedTuple):
    """A grown-up of Qingshi, with a job and a habit that never change."""

    adult: str
    role: str
    adult_ta: str
    shop: str
    habit: str
    gift: str


NEIGHBOURS = (
    Neighbour("张师傅", "面包师", "他", "街口的面包房", "一边揉面一边哼戏", "一个热乎乎的豆沙包"),
    Neighbour("周阿姨", "裁缝", "她", "桥头的裁缝铺", "眯着眼睛穿针", "一块漂亮的花布"),
    Neighbour("赵师傅", "铁匠", "他", "城墙下的铁匠铺", "跟着锤子的节奏数数", "一只小铁铃铛"),
    Neighbour("李医生", "医生", "她", "公园旁的诊所", "骑着自行车去看病人", "一颗薄荷糖"),
    Neighbour("白老师", "图书管理员", "她", "广场上的图书馆", "记得谁借过哪本书", "一本旧连环画"),
    Neighbour("刘大爷", "渔民", "他", "河边的码头", "看看云就知道要不要下雨", "一包小鱼干"),
    Neighbour("何伯伯", "农民", "他", "磨坊后面的农场", "每天傍晚数两遍羊", "一根煮玉米"),
    Neighbour("孙叔叔", "邮递员", "他", "十字路口的邮局", "叫得出每条狗的名字", "一张外国邮票"),
    Neighbour("吴奶奶", "园丁", "她", "学校后面的花房", "喜欢跟花儿说话", "一捧草莓"),
    Neighbour("钟爷爷", "修表匠", "他", "钟楼下的小店", "从来不迟到一分钟", "一个小铜齿轮"),
    Neighbour("钱老板", "杂货店老板", "他", "老街的杂货店", "闭着眼睛也能算账", "一根棒棒糖"),
)
GROCER = NEIGHBOURS[-1]


class Good(NamedTuple):
    """Something for sale, with its measure word."""

    good: str
    good_unit: str


GOODS = (
    Good("苹果", "个"),
    Good("鸡蛋", "个"),
    Good("铅笔", "支"),
    Good("气球", "个"),
    Good("邮票", "张"),
    Good("蜡烛", "支"),
    Good("包子", "个"),
    Good("糖", "颗"),
    Good("橘子", "个"),
    Good("核桃", "个"),
    Good("纽扣", "颗"),
    Good("手帕", "条"),
    Good("本子", "本"),
    Good("灯笼", "盏"),
)
