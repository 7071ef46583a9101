"""English words that are also names, or parts of them: a name of such words alone needs its capitals."""

COMMON = frozenset(
    """
    a about above across after again against all alone along also always am amber an and angel angels another any anyone
    apple april arch are around art as ash ask at august autumn away baby back bad ball bank bar bay be beach bear beat
    beautiful beauty because bed bee been before begin bell belle below best better between big bill bird birds bishop
    black blaze blue board boat bob body bonny book books born both box boy boys brand brave bread break bridge bright
    bring brook brown bud build burn bus business butler but buy by cake call came can candy car card care carol case
    cash cat chance change chase check cherry chip christian church city clay clean clear cliff close cloud club coal
    coat cold cole color come cook cooper could country crew crystal cup daisy dale dark dash date dawn day days dean
    dear december deep destiny dig diamond did do does dog dolly done door down dragon dream dreams drew drive drop duke
    during each eagle earl early earnest earth east easy echo eden edge eight elder else ember empire end energy even
    evening ever every everyone eve eye face fair faith fall family far farm fast father fay february feel fern few
    field fig file film find fine finn fire first fish five flame flash fleet flora flow flower fly forest found fox
    four francs frank free freedom friday friend friends from front full fun game gap garden gene general get ghost girl
    girls give glad glass glen go gold good grace grant gray great green grey ground group grove guy had half hall hand
    happy harbor harbour hard harmony has hat have haven hawk hazel he head heart heath heather heaven heir help hen
    henna her here hill him his history holly home honey honor hope horse hot house how hunt hunter i ice if imagine
    in independence ink iris iron is island it its ivy jack jade january jasmine jay jean jet jewel job joe john join
    journey joy jude july june junior just justice key kind king kit kitty know lake lamp lance land lane large lark
    last late laurel law lead leaf lee left legend lemon less let letter liberty lie life light like lily line lion list
    little live lock long look lord lost lot love low luck lucky luna mac made magic make man mango many maple march
    mark market marina marsh mason master matt max may maze me meadow melody melon men mercy merit merry meta might mike
    miles milk mill mine mint miss mist mode model monday money month moon more morning most mother mountain mouse
    mouth move much music must my name near need nelly never new news next nick night nine no noble noel none noon
    norm north not notion november now number oak ocean october of off office oil old olive on once one only opal open
    or oracle orange orchid other our out over own page paint pansy paper park part parker party pat past path patience
    pay peace peach pear pearl pen penny people pepper perry pet phoenix piece pierce pilot pine pink place plan plane
    play plum point pool poppy port post power precious pride prince princess promise prudence put python queen question
    quick quiet rain rainbow ram ray read real red reed rest reward rex rich ride right ring rise river road rob robin
    rock roger room rose round row ruby rue run rush rust sage sail saint salt sand sandy saturday save saw say school
    sea season second see serve seven shade shadow sharp she shell ship shore short should show side sierra signal
    silver sing sister six sky slack slate sleep small smart smith snow so soft some someone song soon soul sound south
    space spark speak spring square stand star start state stay steel step stone stop storm story street strong such sue
    sugar summer sun sunday sunny sure swan sweet swift table take talk target taylor team tell temple ten than that the
    their them then there these they thing things think third this those thousand three thursday tiger time tin to today
    together tom too top toward town tree trip troy true trust truth tuesday turner two uber under union unit until up
    us use valentine valley van very victor victory view vine violet virtue vision voice wade walk walker wall wally
    want war ward warm was watch water wave way wayne we wealth weaver web wednesday week well were west what wheat
    when where which while white who whole why wild will willow win wind window windy wine winter wise wish with within
    without wolf woman women wonder wood woods woody word work world would write year years yellow yes yet you young
    your zero zest zoom
    """.split()
)

MONTHS = frozenset("january february march april may june july august september october november december".split())
"""Months begin with a capital wherever they stand."""
BEFORE_MONTHS = frozenset(
    """
    in on by since until till from of last next this every early late mid before after during through to between and
    """.split()
)
"""Words before a month that say it is one."""
ARTICLES = frozenset(("a", "an", "the"))
