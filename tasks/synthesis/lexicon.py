"""Vocabulary of the stories, by part of speech."""

from __future__ import annotations

import re

from tasks.synthesis import words

NAMES = words("""
    adrian agnes albert alice amber amelia andre angela arthur audrey barbara beatrice bella bernard bridget
    bruno carla carmen cecilia charlotte chloe clara claudia colin connor curtis cynthia daisy damian daniel
    deborah diana dominic doris dorothy douglas dylan edith eleanor elias elliot eric esther eva felix fiona
    florence frances frederick gabriel gavin gerald gloria gordon grace gregory harold harriet hazel hector
    helen howard hubert ingrid irene iris isaac ivan jacob janet jasmine jerome joanna jonas joseph josephine
    julia julian karen katherine keith kevin laura lawrence leonard lillian lorenzo lucas lucy luther mabel
    malcolm margaret marion martha martin matilda maurice melissa mildred miriam monica nancy natalie nathan
    neil nicholas nora olga olivia oscar owen pamela patricia patrick pauline penelope philip phoebe quentin
    rachel ralph raymond rebecca regina roland rosalind roger rupert russell ruth samuel sandra sebastian
    sheila sidney simon sophia stanley stella stuart susan sylvia teresa theodore thomas tobias ursula
    vanessa vera vernon victoria vincent viola vivian wallace walter wendy wilfred winifred yvonne zelda
""")

PEOPLE = words("""
    accountant actor ambassador apprentice architect artist athlete attorney author banker barber beggar
    biologist blacksmith boxer bricklayer brother builder burglar butcher butler captain carpenter cashier
    champion chauffeur chemist clerk colonel comedian composer conductor cousin cyclist dancer daughter
    dealer dentist designer detective director diver doctor driver economist editor electrician emperor
    engineer explorer farmer father fisherman florist gardener general geologist goalkeeper governor
    grandfather grocer guard guest guide guitarist historian hunter husband inspector inventor janitor
    jeweler journalist judge juggler king knight lawyer lecturer librarian lifeguard locksmith magician
    manager mathematician mayor mechanic merchant messenger miller miner minister monk mother musician
    neighbor nephew niece novelist nurse officer orphan owner painter passenger pharmacist photographer
    physician pianist pilot pirate plumber poet policeman postman potter president priest prince princess
    printer prisoner professor queen reporter sailor scholar scientist sculptor secretary senator servant
    shepherd sheriff shopkeeper singer sister soldier stranger student surgeon tailor teacher tenant thief
    tourist trader translator traveler tutor uncle veteran violinist visitor waiter warden watchmaker weaver
    widow wizard worker writer
""")

ANIMALS = words("""
    alligator ant antelope badger bat bear beaver bee beetle buffalo bull butterfly camel canary caterpillar
    cheetah chicken cobra cow coyote crab cricket crocodile crow deer dolphin donkey dove dragon dragonfly
    duck eagle elephant falcon ferret flamingo fox frog gazelle giraffe goat goose gorilla grasshopper
    hamster hare hawk hedgehog heron hippopotamus horse hyena jaguar kangaroo kitten ladybug lamb leopard
    lion lizard lobster magpie mole monkey mosquito moth mule nightingale octopus ostrich otter owl ox panda
    panther parrot peacock pelican penguin pheasant pig pigeon pony porcupine puppy rabbit raccoon rat raven
    rhinoceros robin rooster salamander scorpion seagull seal shark sparrow spider squirrel starling stork
    swallow swan tiger toad tortoise turkey turtle vulture walrus wasp weasel whale wolf woodpecker worm
    zebra
""")

THINGS = words("""
    accordion album alphabet anchor apron arrow axe badge bagpipe balloon bandage banjo banknote barrel
    basket bathtub battery bell belt bicycle binder blanket blender bolt bookcase boot bottle bowl bracelet
    brick broom brush bucket buckle bullet button cabinet calendar camera candle cannon canvas carpet
    carriage cart cello chain chair chalkboard chest chimney cigar clarinet clock coat coin collar comb
    compass computer contract cradle crayon crown cup curtain cushion dagger desk diamond diary dictionary
    diploma dish doll drawer drawing dress drill drum dumpling earring easel elevator emerald engine envelope
    eraser faucet feather fence flag flashlight flask flute fork fountain frame furnace gasket gift glove
    goblet guitar hammer handbag handkerchief harp hat headphone helmet hinge hook instrument jacket jar
    jewel jug kettle key keyboard kite knapsack label ladder ladle lantern lemonade lens letter lever lid
    locker magazine magnet mailbox manuscript map marble mask mattress medal microphone microscope mirror
    mitten mosaic motorcycle mug nail napkin necklace needle newspaper notebook oar oven package paddle
    painting pamphlet pan parachute parcel passport pearl pedal pencil pendulum perfume photograph piano
    picture pillow pin pipe pistol pitcher plate plow pocket portrait postcard poster pot pouch printer
    projector propeller pump puppet purse puzzle quilt racket raft razor receipt recipe ribbon rifle ring
    robe rocket rope ruby rug saddle safe sail sandal saucer saw saxophone scale scarf scissor screen
    screwdriver scroll sculpture shawl shelf shield shirt shovel shutter sickle skirt sled slipper soap sock
    sofa spade spear spoon stamp statue stool stove suitcase sweater sword syringe table tambourine tank
    tapestry teapot telegram telescope television tent thermometer thermostat thimble throne ticket tile tool
    toothbrush torch towel tractor tray tricycle tripod trombone trophy trumpet trunk tube typewriter
    umbrella uniform vase vest violin wagon wallet wardrobe watch whip whistle wrench xylophone zipper
""")

FOODS = words("""
    almond apricot artichoke asparagus avocado bacon bagel banana barley biscuit blackberry blueberry
    broccoli butter cabbage cake candy caramel carrot casserole cauliflower celery cereal cherry chestnut
    chili chocolate cinnamon coconut cookie corn cracker cranberry cream cucumber custard eggplant fig flour
    garlic ginger grapefruit gravy ham hamburger hazelnut honey jam jelly ketchup leek lemon lentil lettuce
    lime macaroni mango maple mayonnaise melon mushroom mustard noodle oatmeal olive omelet onion orange
    oyster pancake papaya parsley pasta pastry peach peanut pear pepper pickle pie pineapple pistachio pizza
    plum popcorn porridge potato pretzel pudding pumpkin radish raisin raspberry salad salmon sandwich
    sardine sauce sausage shrimp soup spaghetti spinach steak stew strawberry syrup tangerine toast tofu
    trout tuna turnip vanilla vinegar waffle walnut watermelon yogurt zucchini
""")

PLACES = words("""
    abbey academy airport alley apartment arena attic avenue bakery balcony bank barn barracks basement bay
    beach bedroom boulevard bridge cabin cafe camp canal canyon capital casino castle cathedral cave cellar
    cemetery chapel church cinema classroom clinic coast college corridor cottage courtyard creek desert dock
    embassy factory fairground farm field forest fort gallery garage glacier greenhouse gymnasium harbor
    highway hill hospital hotel inn island jungle kitchen laboratory lagoon lake lawn library lighthouse
    lobby mansion market meadow mill mine monastery mountain museum nursery oasis observatory ocean office
    orchard palace park parliament pasture path pavement peninsula pharmacy pier plain planet plantation
    platform playground pond port prairie prison quarry railway ranch reef restaurant river road roof ruin
    sanctuary school seaside shed shipyard shore shrine square stable stadium stage staircase station stream
    street studio suburb subway summit supermarket swamp tavern temple terrace theater tower town track trail
    treasury tunnel university valley vault village vineyard volcano warehouse waterfall well workshop yard
    zoo
""")

ADJECTIVES = words("""
    absent abstract accurate active actual adorable adventurous afraid aggressive ambitious amusing ancient
    angry annual anonymous anxious arrogant artificial ashamed attractive available average awful awkward
    bald bare basic beautiful bitter blind blue bold brave brief bright brilliant broad broken brown calm
    careful casual cautious central certain charming cheap cheerful chilly classic clean clever clumsy coarse
    cold colorful comfortable common complete complex confident confused constant convenient cool courageous
    crazy crooked cruel curious damp dangerous dark deaf dear decent deep delicate delicious delightful dense
    desperate different difficult dirty distant divine dizzy domestic double dramatic dry dull dusty eager
    early eastern easy elderly elegant eloquent empty endless enormous entire equal essential eternal evil
    exact excellent exotic expensive extra faint fair faithful famous fancy fantastic fast fat fatal favorite
    fierce final fine firm flat flexible foolish foreign formal fortunate fragile frequent fresh friendly
    frozen full funny future generous gentle genuine giant glad glorious golden good gorgeous graceful grand
    grateful gray greedy green grim guilty handsome happy harmless harsh healthy heavy helpful helpless
    hollow holy honest hopeful horrible hostile huge humble hungry ideal idle illegal imaginary immense
    important impossible industrial innocent intelligent intense internal invisible jealous joint jolly
    joyful junior keen large lazy legal liberal light likely little local lonely long loose loud lovely loyal
    lucky magnificent major marine massive mature mechanical medical medieval mental mighty mild military
    minor modern modest moral muddy mutual mysterious narrow nasty national native natural neat nervous
    neutral noble noisy normal northern obvious odd official old open ordinary organic original outer pale
    parallel partial patient peaceful perfect permanent personal pink plain pleasant polite poor popular
    powerful practical precious previous primary private probable productive professional proper proud public
    pure purple quick quiet random rapid rare raw ready recent reckless red regular reliable religious
    remarkable remote responsible rich rigid ripe romantic rotten rough round royal rude rural sacred sad
    scarce scared scientific secret senior sensitive separate serious severe shallow sharp shiny short shy
    sick silent silly similar simple single skillful slender slim slippery slow small smart smooth social
    soft solar solid sour southern spare special spectacular spiral splendid square stable steady steep
    sticky stiff strange strict strong stubborn sudden suitable sunny superb sweet swift tall tame tender
    terrible thick thin thirsty thorough tight tiny tired tough tragic tropical typical ugly ultimate unique
    universal upper upset urban urgent useful useless usual vague valid valuable various vast violent visible
    vital vivid warm weak wealthy weird western wet white whole wicked wide wild wise wonderful wooden worthy
    wounded yellow young
""")

ADVERBS = words("""
    abruptly absolutely accidentally again almost already always angrily anxiously apparently barely blindly
    boldly bravely briefly brightly calmly carefully carelessly certainly cheerfully clearly cleverly closely
    constantly correctly daily deeply deliberately directly eagerly easily elegantly enthusiastically equally
    eventually exactly faithfully finally firmly fondly foolishly formally fortunately frankly freely
    frequently gently gladly gracefully gradually gratefully happily hastily heavily honestly hungrily
    immediately innocently instantly joyfully kindly lately lazily lightly loudly loyally merrily mostly
    naturally nearly neatly nervously never nicely nobly obediently occasionally often once openly painfully
    patiently perfectly personally politely poorly possibly powerfully precisely presently privately probably
    promptly properly proudly publicly quickly quietly randomly rapidly rarely really recently regularly
    reluctantly repeatedly roughly rudely sadly safely seldom seriously sharply shyly silently simply slowly
    smoothly softly solemnly sometimes soon steadily sternly still strictly suddenly surely suspiciously
    swiftly tenderly terribly thoroughly tightly together truly twice unexpectedly usually vaguely warmly
    weakly wearily well wildly willingly wisely
""")

_VERBS = """
    abandon accept accuse admire adopt adore advise allow amuse analyze announce annoy answer applaud
    appreciate approve arrange arrest attach attack attend avoid bake balance behold|beheld bite|bit blame
    bless blow|blew borrow bother break|broke bring|brought brush build|built bury buy|bought call capture
    carry carve catch|caught celebrate challenge chase choose|chose clean climb collect comfort command
    compare conceal confuse congratulate connect consider consult control! convince cook copy correct count
    cover crush cure damage decorate defeat defend deliver deny describe deserve design destroy detect
    discover discuss dislike disturb divide draw|drew drink|drank drive|drove drop! dry eat|ate educate
    embrace employ encourage enjoy entertain escape escort examine exchange excuse expect explain explore
    fear feed|fed fetch fight|fought film find|found finish fix fold follow forbid!|forbade forget!|forgot
    forgive|forgave frighten furnish gather greet grab! grow|grew guard guess guide hand hate haunt
    hear|heard heal help hide|hid hire hit!|hit hold|held hug! hunt hurt|hurt identify ignore illustrate
    imagine imitate impress improve include inform injure inspect insult interest interrupt interview
    introduce invent investigate invite iron judge keep|kept kick kiss knock know|knew lead|led leave|left
    lend|lent lift light|lit load lock lose|lost love manage mark marry measure meet|met melt mend mention
    miss mix move need notice obey observe obtain offer order overtake|overtook owe own pack paint pardon
    pass persuade photograph pick place plan! plant please polish possess postpone pour praise prefer!
    prepare present preserve press prevent produce promise protect provoke pull punish purchase push question
    raise reach read|read rebuild|rebuilt receive recognize recommend record reflect refuse regret! reject
    remember remind remove repair repeat replace report request rescue respect restore return reveal
    ride|rode ring|rang rob! roll rub! ruin satisfy save scatter scold scratch search see|saw seek|sought
    select sell|sold send|sent separate serve sew sing|sang sketch slap! smell sniff spend|spent spill spoil
    spray spread|spread squeeze startle steal|stole stop! store strike|struck study stuff suggest summon
    supply support surprise surround suspect swallow sweep|swept take|took tame taste teach|taught tease
    tell|told test thank throw|threw tie touch trace train transport trap! treat trick trust turn twist
    understand|understood unlock untie use visit wake|woke want warm warn wash watch wear|wore weigh welcome
    win!|won wipe wish worry worship wrap! write|wrote
"""


_PLURALS = {
    "deer": "deer",
    "goose": "geese",
    "ox": "oxen",
    "shelf": "shelves",
    "thief": "thieves",
    "wolf": "wolves",
}
_WITH_ES = re.compile(r"(s|x|z|ch|sh|buffalo|flamingo|mosquito|volcano)$")


def plural(noun: str) -> str:
    """Form the plural of a noun, or the third person singular of a verb."""
    if noun in _PLURALS:
        return _PLURALS[noun]
    if noun.endswith("man"):
        return noun[:-3] + "men"
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + ("es" if _WITH_ES.search(noun) else "s")


def _forms(verb: str) -> tuple[str, str, str, str]:
    """Inflect a verb. An exclamation mark, as in ``stop!``, doubles the last letter; a bar precedes an
    irregular past form.
    """
    base, _, irregular = verb.partition("|")
    doubled, base = base.endswith("!"), base.rstrip("!")
    stem = base + base[-1] if doubled else base
    past = irregular or (
        base[:-1] + "ied" if re.search(r"[^aeiou]y$", base) else re.sub("e$", "", stem) + "ed"
    )
    if base.endswith("ie"):
        stem = base[:-2] + "y"
    return base, past, plural(base), re.sub("(?<!e)e$", "", stem) + "ing"


VERBS = tuple(_forms(verb) for verb in words(_VERBS))
"""The base form, past form, -s form and -ing form of each verb."""
