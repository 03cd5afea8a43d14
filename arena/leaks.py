"""Does a text reveal who wrote it? What it says of itself counts, in many languages; mentions of others do
not.

A name that is coined (Qwen, ChatGPT) tells wherever a text says "I am" before it. One that is also a word or a person's
name (Llama, Claude, Gemini) tells only where it stands as a name, with nothing behind it that makes it another's.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from arena.schema import NAME

COINED = (
    r"(?:chat|챗|チャット|чат|شات |تشات |چت)[ -]?(?:gpt|지피티|جي ?بي ?تي|جی[\u200c ]?پی[\u200c ]?تی)|चैटजीपीटी|แชทจีพีที|צ['׳]אט ?gpt|"
    r"gpt[ -]?(?:[0-9j]|neo|oss)[\w.-]*|o[134]-(?:mini|preview)|mixtral|ministral|devstral|codestral|le chat|qwen|qwq|tongyi(?: qianwen)?|"
    r"通[义義]千[问問]|千[问問]|文心(?:一言|大模型)|ernie bot|deep[ -]?seek|深度求索|smollm|kimi(?: ?k\d)|月之暗面|"
    r"(?:chat)?glm|智[谱譜](?:清言)?|豆包|doubao|混元|hunyuan|百川|baichuan|讯飞星火|星火认知|spark desk|internlm|书生|零一万物|"
    r"command[ -]r\b\+?|(?-i:Command A)\b|c4ai|aya expanse|stable ?lm|openassistant|open-assistant|gpt4all|wizardlm|openchat|open-?hermes|"
    r"nemotron|pixtral|exaone|엑사원|하이퍼클로바|seed[ -]oss|lfm ?\d[\w.]*|hyper ?clova(?: ?x)?|클로바(?: ?x)?|gigachat|гигачат|yandexgpt|яндекс ?gpt|lamda|t[uü]lu|olmo|rwkv|"
    r"minimax|(?:sonnet|opus|haiku) \d[\w.]*|phi[ -]?[1-9][\w.]*|gemma[ -]?[1-9][\w.]*|llama[ -]?[1-9][\w.]*|meta ai|meta[ -]llama|code ?llama|tiny ?llama|dbrx|jamba|starcoder|"
    r"제미나이|딥시크|큐웬|ディープシーク|дипсик|квен|ديب ?سيك|كوين|bing chat|copilot chat"
)
"""Names that are nothing else, as a regular expression."""
WORDS = (
    "llama|phi|mistral|magistral|falcon|gemini|claude|nova|yi|grok|titan|granite|kimi|bard|copilot|alpaca|vicuna|orca|zephyr|"
    "hermes|gemma|sonnet|siri|cortana|bing|bloom|solar|palm|pi|ernie|aya|luminous|spark|titan|dolly|apertus|bielik|克劳德|ジェミニ|クロード|グロック|클로드|그록|라마|"
    "미스트랄|клод|джемини|гемини|грок|мистраль|алиса|كلود|جيميني|جيميناي|جيمني|جروك|ميسترال|لاما|جمینای|کلود|जेमिनी|क्लाउड|ג׳מיני|ג'מיני|קלוד|เจมินี|คล็อด"
)
"""Names that are also words or persons."""
MAKERS = (
    "open ?ai|anthropic|google(?: deepmind| ai)?|deepmind|meta(?: ai| platforms)?|facebook|microsoft|alibaba(?: cloud)?|mistral(?: ai)?|"
    "deep ?seek|hugging ?face|technology innovation institute|tii|xai|baidu|moonshot(?: ai)?|zhipu(?: ai)?|z\\.ai|cohere|amazon|aws|apple|"
    "ibm|nvidia|allen institute|ai2|stability ai|databricks|eleuther(?: ?ai)?|naver|kakao|upstage|tencent|bytedance|huawei|iflytek|"
    "inflection(?: ai)?|ai21(?: labs)?|yandex|sber\\w*|01\\.ai|lmsys|perplexity|minimax|lg ai research|liquid ai|nous research|arcee(?: ai)?|reka(?: ai)?|stepfun|xiaomi|inclusion ?ai|samsung|salesforce|업스테이지|阿里(?:巴巴|云|雲)?|达摩院|百度|腾讯|"
    "字节跳动|华为|科大讯飞|商汤|月之暗面|智谱|深度求索|零一万物|谷歌|微软|清华大学|グーグル|マイクロソフト|アリババ|メタ|구글|네이버|카카오|마이크로소프트|메타|알리바바|"
    "яндекс\\w*|сбер\\w*|гугл\\w*|جوجل|غوغل|مايكروسوفت|ميتا|علي بابا|גוגל|מיקרוסופט|गूगल|กูเกิล"
)
_I_AM = (
    r"(?:i am|i['’`]?m|iam)(?: actually| really| still| simply| in fact)?|the name(?: is|['’]s)|you (?:may|might|probably) know me as|it['’]s me|my name is|my name['’]s|i am called|i['’]m called|call me|you can call me|i go by|known as|this is|you(?: are|['’]re) (?:talking|chatting|speaking) (?:to|with)|"
    r"c['’]est moi|je suis|je m['’]appelle|mon nom est|moi c['’]est|ich bin|ich hei(?:ß|ss)e|mein name ist|man nennt mich|sóc|jo sóc|em dic|soy|me llamo|me llaman|mi nombre es|"
    r"sou(?: [oa])?|eu sou(?: [oa])?|me chamo|chamo-me|meu nome é|sono|mi chiamo|il mio nome è|ik ben|ik heet|mijn naam is|jag är|jag heter|mitt namn är|"
    r"jeg er|jeg hedder|jeg heter|mit navn er|navnet mitt er|mitt navn er|olen|minä olen|nimeni on|minun nimeni on|jestem|nazywam się|mam na imię|"
    r"ja sam|ја сам|moje ime je|jaz sem|esu|aš esu|esmu|es esmu|ég er|unë jam|мен|mən|ek is|jsem|já jsem|jmenuji se|jmenuju se|volám sa|som|a nevem|én vagyok|sunt|eu sunt|mă numesc|numele meu este|benim adım|adım|ben|"
    r"saya adalah|saya|nama saya(?: adalah)?|aku adalah|tôi là|tôi tên là|tên tôi là|tên của tôi là|mình là|ako si|ako ay|ako ay si|ang pangalan ko ay|"
    r"mimi ni|jina langu ni|я|я -|я —|меня зовут|мо[её] имя|моє ім['’]я|мене звати|аз съм|казвам се|είμαι(?: ο| η| το)?|με λένε|το όνομά μου είναι|"
    r"أنا|انا|اسمي|اسمي هو|إسمي|من|نام من|اسم من|אני|שמי|שמי הוא|קוראים לי|मैं|मेरा नाम|আমি|আমার নাম|நான்|என் பெயர்|నేను|నా పేరు|"
    r"ฉันเป็น|ผมเป็น|ผมคือ|ฉันคือ|ดิฉันคือ|ผมชื่อ|ฉันชื่อ|私は|私、|わたしは|わたくしは|僕は|ぼくは|俺は|私の名前は|저는|나는|제 이름은|내 이름은|我是|我叫|我就是|我的名字(?:是|叫)|我名叫|本人是|這裡是|这里是"
)
_AS = (
    "as|speaking as|als|en tant que|comme|como|come|in quanto|in qualità di|som|jako|ca|jako|som|як|как|будучи|"
    "بصفتي|بوصفي|כ-?|בתור|作为|作為|身为|として"
)
_ARTICLE = r"(?:an?|the|un[ea]?|uma?|ο|η|το|l['’]|l[ea]|el|lo|il|o|eine?n?|de[rmn]|die|das|een|en|ett|et|just|only|simply|actually|ένα|isang|your|named|called|نموذج|מודל)"
_MODEL = (
    r"(?:large |ai )?(?:language )?(?:\w*model\w*|modèle|\w*malli\w*|assistant\w*(?!\s+(?:professor|manager|editor|director|teacher|coach|cook|engineer)\b)|assistent\w*|asistente|assistente|chat ?bot|llm|ai\b|ia\b|ki\b)|"
    r"модел\w*|ассистент\w*|помощник\w*|асистент\w*|помічник\w*|нейросет\w*|نموذج|مساعد|מודל|עוזר|モデル|アシスタント|模型|助手|助理|人工智能|人工知能|모델|어시스턴트|비서|인공지능|"
    r"mô hình|trợ lý|मॉडल|सहायक|แบบจำลอง|โมเดล|ผู้ช่วย|μοντέλο|βοηθός|avustaja|yapay zek[aâ]|asistan\w*"
)
_MADE = (
    r"(?:trained|created|developed|made|built|designed|powered|programmed|fine-tuned|released|entwickelt|trainiert|erstellt|erschaffen|développée?|créée?|entraînée?|conçue?|"
    r"desarrollad[oa]|cread[oa]|entrenad[oa]|desenvolvid[oa]|criad[oa]|treinad[oa]|sviluppat[oa]|creat[oa]|addestrat[oa]|ontwikkeld|gemaakt|getraind|"
    r"utvecklad|tränad|skapad|utviklet|udviklet|trænet|skabt|opracowan\w+|stworzon\w+|wytrenowan\w+|vyvinut\w*|vytvořen\w*|dezvoltat\w*|creat|antrenat\w*|"
    r"разработан\w*|создан\w*|обучен\w*|розроблен\w*|створен\w*|кehitetty|kehittänyt|dikembangkan|dilatih|dibuat|phát triển|huấn luyện|đào tạo|tạo ra)"
)
_BY = (
    r"(?:by|from|of|von|der firma|par|de chez|de|d['’]|por|pel[oa]|da|do|del|dal?|di|van|door|av|af|fra|från|przez|od|de către|oleh|bởi|từ|của|от|из|від|"
    r"компани(?:ей|и)|من|بواسطة|من قبل|της|ng|na ginawa ng|ที่พัฒนาโดย|של|על ידי|ע['\"״]י)"
)
_WAS = (
    "i was|i am|i['’]m|i have been|i['’]ve been|ich wurde|ich bin|je suis|j['’]ai été|fui|he sido|soy|me (?:creó|entrenó|desarrolló)|eu fui|sou|"
    "sono stat[oa]|ik ben|ik werd|jag är|jag har|jag blev|jeg er|jeg blev|jeg ble|został[ae]m|byl jsem|byla jsem|am fost|я был[аи]?|меня|я|мене|saya|tôi được"
)
_FIRST_PERSON = (
    r"(?:i|i['’]m|my|me|ich|mir|mein\w*|je|j['’]\w+|yo|eu|io|ik|jag|jeg|я|мне|мой|أنا|אני|私|저는|我)"
)
_CJK = r"[^\s\x00-\u2fff]"  # scripts that write no space before the word that follows a name
_VERSION = r"(?:[ -]?v?\d[\w.]*|[ -](?:opus|sonnet|haiku|instant|pro|ultra|flash|nano|large|medium|small|instruct|chat|micro|lite|premier|guard))*"
_END = rf"(?=\s*(?:$|[^\w\s'’&-]|[-–—]\s|{_CJK}|(?:and|or|but|by|from|und|et|y|e|en|och|og|i|a|и|از|و|di|de|d['’]|von|par|por)\b|हूँ|हूं|है|ครับ|ค่ะ))"
_ANY = rf"(?:{COINED}|{WORDS})"
_BRAND = rf"(?:{COINED}|{MAKERS}|{WORDS})"
_START = r"(?<![^\W_\u2e80-\uffdc])"  # those scripts write no space before a name either


BEFORE, AFTER = 160, 160  # characters around a name in which a text may claim it
_CAPITAL = r"(?:(?-i:(?=[^\Wa-z\d_]))|(?=claude\b))"
_COINED = rf"(?:{COINED})"
_WORD = rf"{_CAPITAL}(?:{WORDS}){_VERSION}"
_JOINT = rf"[\s,:–—-]*(?:{_ARTICLE}\s*){{0,2}}(?:(?:{_MODEL})[\s,:]+)?[\"“'«「*_`]*"
_OF = r"(?:\b(?:from|by|at|of|de|du|des|da|do|del|della|di|von|vom|aus|van|par|por|fra|från|od|ze?|из|от|من)\b|\bd['’]|来自|來自)"
_POSSESSIVE = r"(?:your|my|our|his|her|their|mon|ma|votre|mein|meine|dein|deine|tu|mi|su|tuo|tua|mio|mia|suo|sua|teu|meu|minha|seu|din|min|mijn|jouw|\w+['’]s)"
_RELATION = r"(?:brother|sister|father|mother|friend|neighbou?r|son|daughter|uncle|aunt|boss|colleague|husband|wife|cousin|teacher|dog|cat)\b"
_RANK = r"(?:king|queen|prince(?:ss)?|lord|lady|ruler|keeper|guardian|messenger|god(?:dess)?|hero)"
_NOT_I = r"(?:を|ではありません|じゃな|を使|를|을|와 |과 |이 아니|가 아니|का उपयोग|को |से )"
_LIVES = r"(?:live|work|teach|study|paint|drive|own|sell|grew|come|came|moved|was born|have (?:two|three|a|an|been)|am \d|['’]m \d|(?:am|['’]m) (?:from|in|at))\b"
_ANOTHER = (  # what follows makes it the name of a person, an animal or a thing
    rf"(?!,?\s+(?:an?|the|une?|una|uma?|eine?|el|la|le|les|il|lo|de[rn]|die|das|het|{_POSSESSIVE})\s+(?!(?:\S+\s+){{0,4}}(?:{_MODEL})))"
    rf"(?!\s*[,，]?\s*{_OF}(?!\s*(?:\S+\s+){{0,3}}(?:{_BRAND}|{_MODEL})))"
    rf"(?!,?\s+(?:and\s+)?i\s*{_LIVES}(?![^.!?\n]{{0,30}}(?:{_BRAND}|{_MODEL})))"
    rf"(?!,?\s+(?:and\s+)?i(?:['’]m| am)\s+an?\s+(?!(?:\S+\s+){{0,4}}(?:{_MODEL})))"
    rf"(?!,?\s+(?:said|says|cried|{_RANK})\b)"
    r"(?!,?\s+and\s+this\s+is\b)"
    r"(?!\s*座)"  # the sign of the zodiac
    r"(?!,\s+(?:aged\s+)?\d{1,2}\b)"
)
_NAMED = re.compile(rf"{_START}{_BRAND}", re.IGNORECASE)
_CLAIMS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_START}(?:{_I_AM}){_JOINT}{_COINED}(?![a-z]|\s*{_NOT_I})",
        rf"{_START}(?:{_I_AM})[\s,:–—-]*[\"“'«「*_]*{_WORD}[\"”'»」*_]*{_END}{_ANOTHER}",
        rf"{_START}(?:{_I_AM})[\s,]*(?:{_ARTICLE}\s*){{1,2}}{_WORD}[\s-]*(?:\w+[\s-]){{0,2}}(?:{_MODEL})",
        rf"{_START}(?:{_AS})[\s,]*(?:{_ARTICLE}\s*)?{_COINED}(?:[ -](?:{_MODEL}))?\W[^.!?\n。！？]{{0,30}}?\b{_FIRST_PERSON}\b",
        rf"{_START}(?:como|come|jako|en tant que|in quanto|作为|作為|身为|بصفتي)[\s,]*(?:{_ARTICLE}\s*)?(?:{_MODEL}\s*)?{_COINED}",
        rf"{_START}(?:{_AS})[\s,]*(?:{_ARTICLE}\s*)?{_WORD}[ -](?:{_MODEL}),[^.!?\n]{{0,15}}?\b{_FIRST_PERSON}\b",
        rf"{_START}(?:{_AS})[\s,]*{_WORD},[^.!?\n]{{0,15}}?\b{_FIRST_PERSON}\b(?!\s+{_RELATION})",
        rf"{_START}(?:{_I_AM})[\s,]*(?:{_ARTICLE}\s*){{1,2}}(?:\S+\s+){{0,5}}?(?:{_MODEL})[^.!?\n]{{0,50}}?\b{_BY}\s*(?:\w+\s+){{0,3}}?{_BRAND}\b",
        rf"{_START}(?:{_I_AM})[\s,]*(?:{_MODEL})[^.!?\n]{{0,50}}?{_BY}\s*(?:\w+\s+){{0,3}}?{_BRAND}\b",
        rf"{_START}(?:{_I_AM})[\s,]*(?:{_ARTICLE}\s*)?(?:{_BRAND})['’]s\s+(?:\w+\s+){{0,3}}(?:{_MODEL}|{_ANY})",
        rf"{_START}(?:{_I_AM})[\s,]*(?:\S+\s+){{0,3}}?(?:{_MODEL})[^.!?\n]{{0,30}}?{_MADE}\s+(?:\S+\s+){{0,2}}?{_BRAND}\b",
        rf"{_START}(?:{_AS})\s+(?:{_ARTICLE}\s*)?(?:\S+\s+){{0,4}}?(?:{_MODEL})[^.!?\n]{{0,20}}?{_MADE}[^.!?\n]{{0,30}}?{_BRAND}\b",
        rf"{_START}(?:{_WAS})\s+(?:\w+\s+){{0,2}}?{_MADE}[^.!?\n]{{0,40}}?\b(?:{_BY}\s*)(?:\w+\s+){{0,4}}?{_BRAND}\b",
        rf"\b(?:ich|ik)\b[^.!?\n]{{0,20}}?\b(?:von|door)\s+(?:\w+\s+){{0,2}}{_BRAND}\s+(?:\w+\s+){{0,2}}{_MADE}",
        rf"{_BRAND}[^.!?\n]{{0,40}}\b(?:created|trained|developed|built|made|designed)\s+me\b",
        rf"\bmy (?:creators?|developers?|makers?|parent company)\b\W+(?:\w+\W+){{0,3}}?{_BRAND}\b",
        rf"(?:我|私|僕|저는|나는)[^。！？\n]{{0,30}}?(?:由|は|で|이|가|에서|의|が|是|の)?[^。！？\n]{{0,12}}?{_BRAND}[^。！？\n]{{0,14}}?(?:开发|開發|開発|研发|训练|訓練|创建|打造|推出|发布|設計|作られ|개발|만든|만들|훈련|학습|模型|モデル|AI|人工智能|助手|アシスタント|모델|인공지능)",
        rf"\b(?:ben|bana)\b[^.!?\n]{{0,20}}{_BRAND}[^.!?\n]{{0,30}}(?:geliştir|eğit|model|asistan)",
        rf"\b(?:i am|i['’]m)\b[^.!?\n]{{0,60}}\b(?:called|named)\s+{_COINED}",
        rf"\b(?:i am|i['’]m)\b[^.!?\n]{{0,40}}\b(?:{_MODEL})[^.!?\n]{{0,40}}\b(?:called|named)\s+{_WORD}{_END}",
        rf"\bi(?:['’]m| am)?\s+(?:\w+\s+)?(?:run(?:ning)? on|based on|powered by|built (?:on|upon)|an? (?:instance|version) of)\s+(?:the\s+)?(?:{_COINED}|{_WORD}{_END})",
        rf"\b(?:generated|written|produced|answered) by\s+(?:an? ai\W+)?{_COINED}\W*$",
        rf"(?:sincerely|regards|wishes|yours|cheers|best|love)\W+{_COINED}\W*$",
        rf"\bmy (?:training data|knowledge cut-?off|language model)\b[^.!?\n]{{0,50}}?\b{_BRAND}\b",
        rf"\bi, {_COINED},",
        rf"(?:^|\n|[—–-])\s*{_ANY}{_VERSION}\s*\((?:by )?(?:{MAKERS})\)\W*$",
        rf"{_START}я\b\W*(?:\w+,\s+)?(?:\w+(?:ая|ый|ий|ой)\b,?\s+){{0,4}}?(?:модел\w*|ассистент\w*|помощник\w*|нейросет\w*)\s+(?:\w+\s+)?{_BRAND}",
        rf"\bменя\s+(?:создал|разработал|обучил)\w*\s+(?:\w+\s+)?{_BRAND}",
        rf"{_START}{_COINED}(?:['’]\w+|\s+vagyok|\s+here\b|です|と申します)",
        rf"^\W{{0,3}}{_COINED}\W{{0,2}}[:：]",
        rf"{_START}(?:{_I_AM})\s*(?:{_ARTICLE}\s*)?(?:\w+\s+)?(?:{_MODEL})\s+{_WORD}{_END}{_ANOTHER}",
        rf"{_START}(?:{_I_AM})[\s,]*(?:{WORDS}){_VERSION},\s+{_ARTICLE}\s+(?:\w+\s+){{0,2}}?(?:{_MODEL}\b|{MAKERS}['’]s)",
        rf"{_START}(?:저는|나는|私は|わたしは|我是|我叫|您好)\s*(?:来自)?(?:{MAKERS})(?:公司|旗下|가 개발한|가 만든|が開発した)?(?:의|の|的)?\s*{_ANY}",
        rf"{_START}i, {_CAPITAL}(?:{WORDS}), (?:am|was|can|cannot|do|will)\b(?![^.!?\n]{{0,20}}{_RELATION})",
        rf"\bi(?:['’]m| am| belong)\s+(?:a |one )?(?:part of|member of|from|of|to)\s+the\s+{_BRAND}{_VERSION}\s+(?:family|series)",
        rf"\bi(?:['’]m| am)? us(?:e|ing) {_COINED}{_VERSION} (?:under the hood|to (?:answer|respond))",
        rf"\b(?:as|als|som)\s+(?:{_ARTICLE}\s+)?(?:\w+\s+)?{_BRAND}\s+(?:\w+\s+)?(?:{_MODEL}),?\s+{_FIRST_PERSON}\b",
        rf"\b(?:as|als|som)\s+(?:{_ARTICLE}\s+)?(?:\w+[\s-]+){{0,2}}?(?:{_MODEL})\s+{_BY}\s+{_BRAND},?\s+(?:\w+\s+)?{_FIRST_PERSON}\b",
        rf"\bals\s+(?:ein|een)\s+(?:von|door)\s+{_BRAND}\s+\w+\s+(?:\S+\s+)?(?:{_MODEL})",
        rf"\b(?:como|come|en tant que|in quanto)\s+(?:{_ARTICLE}\s*)?(?:{_MODEL})[^.!?\n,]{{0,30}}?{_BY}\s*{_BRAND}\b",
        rf"(?:作为|作為|身为)(?:一[个個名])?由?{_BRAND}(?:开发|開發|训练|訓練|打造)?的?(?:[^，。\n]{{0,6}}(?:{_MODEL})|AI|，我|,\s*我)",
        rf"\b(?:{MAKERS})['’]s\s+(?:\w+\s+)?(?:polic|guideline|rule|principle)\w*[^.!?\n]{{0,30}}\b(?:i can(?:no|['’])t|i am (?:not|un)|allow me|permit me)",
        rf"\bi\s+(?:\w+\s+)?(?:follow|adhere to|comply with|obey)\s+(?:{MAKERS})['’]s\s+(?:\w+\s+)?(?:polic|guideline|rule|principle)",
        rf"\b(?:we at (?:{MAKERS})|here at (?:{MAKERS}), we)\b",
        rf"[—–]\s*{_COINED}\W*$",
        rf"我的(?:开发|開發|创造|創造|研发|制造)(?:者|商|团队|公司)是{_BRAND}",
        rf"\b(?:mon|mein|mi|meu|il mio|min|mijn|мой|моя)\s+(?:créateur|développeur|entwickler|schöpfer|creador|desarrollador|criador|desenvolvedor|creatore|sviluppatore|skapare|utvecklare|maker|создатель|разработчик)\b\W+(?:\w+\W+){{0,3}}?{_BRAND}\b",
        rf"{_START}(?:{MAKERS})\s+(?:me|m['’]a|hat mich|heeft mij|har)\s+(?:{_MADE}|creó|entrenó|desarrolló|criou|treinou|desenvolveu|made)\b",
        rf"\b(?:mi ha|me ha|m['’]a|με)\s+(?:{_MADE}|δημιούργησε|ανέπτυξε|εκπαίδευσε)\s+(?:\w+\s+)?{_BRAND}\b",
        rf"\b(?:я(?: был[аи]?)?|jsem|jsem byla?|olen|minut on)\s+(?:{_MADE}|kehitetty|kehittänyt)\s+(?:\w+\s+){{0,3}}?{_BRAND}\b",
        rf"\b(?:jag (?:skapades|utvecklades|tränades) av|jeg bl(?:e|ev) (?:laget|skapt|udviklet|utviklet|trent|trænet) a[vf]|tôi được)\s+(?:\w+\s+)?{_BRAND}\b",
        rf"{_START}(?:{_BRAND})(?::n kehittämä \w*malli|\s+tarafından\s+\w+d[iıuü]m\b)|\bolen\s+(?:{_BRAND}):n\b[^.!?\n]{{0,20}}malli",
        rf"\b(?:jsem|som|sem|ja sam)\s+\w*(?:jazykov\w+|AI)?\s*(?:{_MODEL})\s+(?:od|z|iz)\s+{_BRAND}\b|{_BRAND} által[^.!?\n]{{0,30}}modell vagyok",
        rf"(?:تم (?:تطويري|تدريبي|إنشائي)|נוצרתי|פותחתי|אומנתי|मुझे)[^.!?।\n]{{0,20}}?{_BRAND}",
        rf"(?:मैं|من)\s[^.!?।\n]{{0,30}}?(?:{_BRAND}[^.!?।\n]{{0,25}}?(?:मॉडल|सहायक)|(?:مدل|دستیار)[^.!?\n]{{0,40}}?{_BRAND})",
        rf"{_START}(?:{_I_AM}|hi|hello|hey)[\s,:]*{_WORD}\s+here\b{_ANOTHER}",
    )
)


def leak(text: str, policy: str, spec: Mapping[str, Any]) -> str | None:
    """The words of `text` that tell who wrote it, or None.

    Looked for: the names of the policy, its model and its checkpoint where they look like a name
    ("SmolLM2-135M", not "formal"), and what a text says of itself, such as "I am Claude" or "I was trained by OpenAI".
    """
    given = [policy, *(spec[field] for field in ("model", "checkpoint") if isinstance(spec.get(field), str))]
    names = sorted({part for full in given for part in _names(full)}, key=len, reverse=True)
    for name in names:
        if match := re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE):
            return match.group()[:NAME]
    return next(filter(None, map(_claim, _mentions(text))), None)


def _mentions(text: str) -> Iterator[str]:
    """The parts of the text around the names of models: no other part can be a leak."""
    end = -1
    for match in _NAMED.finditer(text):
        if match.end() > end:
            end = match.end() + AFTER
            yield text[max(0, match.start() - BEFORE) : end]


def _claim(text: str) -> str | None:
    return next((match.group().strip()[:NAME] for claim in _CLAIMS if (match := claim.search(text))), None)


def _names(full: str) -> list[str]:
    """The forms under which a text may name `full`: whole, without its owner, and its family."""
    tail = full.rsplit("/", 1)[-1]
    family = re.split(r"[-_ ]", tail)[0]
    return [name for name in (full, tail, family, family.rstrip("0123456789.")) if _distinctive(name)]


def _distinctive(name: str) -> bool:
    """A made-up name rather than a word: it has a digit, a joint or a capital inside, and four characters."""
    return len(name) >= 4 and bool(re.search(r"\d|\w[_/]\w|[a-z][A-Z]", name))
