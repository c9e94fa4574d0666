"""Countries as surveys name them, and their continents: for reports, and for choosing a community's rows."""

from __future__ import annotations

import re
from collections.abc import Iterator

OTHER = "other"
"""The continent of a country that is not in the table."""

_ONE_NAME = {
    "Czech Rep.": "Czechia",
    "Great Britain": "Britain",
    "Hong Kong SAR": "Hong Kong",
    "Macau SAR": "Macau",
    "Palest. ter.": "Palestinian territories",
    "S. Africa": "South Africa",
    "S. Korea": "South Korea",
    "Taiwan ROC": "Taiwan",
}
"""GlobalOpinionQA takes its questions from two surveys that name some countries differently, or shorten them."""

_COUNTRIES = {
    "Africa": (
        "Algeria DZ DZA, Angola AO AGO, Benin BJ BEN, Botswana BW BWA, Burkina Faso BF BFA, Burundi BI BDI, Cabo "
        "Verde/Cape Verde CV CPV, Cameroon CM CMR, Central African Republic CF CAF, Chad TD TCD, Comoros KM COM, DR "
        "Congo/Democratic Republic of the Congo CD COD, Djibouti DJ DJI, Egypt EG EGY, Equatorial Guinea GQ GNQ, "
        "Eritrea ER ERI, Eswatini/Swaziland SZ SWZ, Ethiopia ET ETH, Gabon GA GAB, Gambia/The Gambia GM GMB, Ghana GH "
        "GHA, Guinea GN GIN, Guinea-Bissau GW GNB, Ivory Coast/Cote d'Ivoire/Côte d'Ivoire CI CIV, Kenya KE KEN, "
        "Lesotho LS LSO, Liberia LR LBR, Libya LY LBY, Madagascar MG MDG, Malawi MW MWI, Mali ML MLI, Mauritania MR "
        "MRT, Mauritius MU MUS, Mayotte YT MYT, Morocco MA MAR, Mozambique MZ MOZ, Namibia NA NAM, Niger NE NER, "
        "Nigeria NG NGA, Republic of the Congo/Congo CG COG, Rwanda RW RWA, Réunion RE REU, Sao Tome and Principe ST "
        "STP, Senegal SN SEN, Seychelles SC SYC, Sierra Leone SL SLE, Somalia SO SOM, South Africa ZA ZAF, South "
        "Sudan SS SSD, Sudan SD SDN, Tanzania/United Republic of Tanzania TZ TZA, Togo TG TGO, Tunisia TN TUN, Uganda "
        "UG UGA, Western Sahara EH ESH, Zambia ZM ZMB, Zimbabwe ZW ZWE"
    ),
    "Asia": (
        "Afghanistan AF AFG, Armenia AM ARM, Azerbaijan AZ AZE, Bahrain BH BHR, Bangladesh BD BGD, Bhutan BT BTN, "
        "Brunei BN BRN, Cambodia KH KHM, China CN CHN, Cyprus CY CYP, Georgia GE GEO, Hong Kong HK HKG, India IN IND, "
        "Indonesia ID IDN, Iran/Islamic Republic of Iran IR IRN, Iraq IQ IRQ, Israel IL ISR, Japan JP JPN, Jordan JO "
        "JOR, Kazakhstan KZ KAZ, Kuwait KW KWT, Kyrgyzstan KG KGZ, Laos LA LAO, Lebanon LB LBN, Macau MO MAC, "
        "Malaysia MY MYS, Maldives MV MDV, Mongolia MN MNG, Myanmar/Burma MM MMR, Nepal NP NPL, North Korea KP PRK, "
        "Oman OM OMN, Pakistan PK PAK, Palestinian territories/Palestine PS PSE, Philippines PH PHL, Qatar QA QAT, "
        "Saudi Arabia SA SAU, Singapore SG SGP, South Korea/Republic of Korea KR KOR, Sri Lanka LK LKA, Syria/Syrian "
        "Arab Republic SY SYR, Taiwan TW TWN, Tajikistan TJ TJK, Thailand TH THA, Timor-Leste/East Timor TL TLS, "
        "Turkey/Türkiye TR TUR, Turkmenistan TM TKM, United Arab Emirates AE ARE, Uzbekistan UZ UZB, Vietnam/Viet Nam "
        "VN VNM, Yemen YE YEM"
    ),
    "Europe": (
        "Åland Islands AX ALA, Albania AL ALB, Andorra AD AND, Austria AT AUT, Belarus BY BLR, Belgium BE BEL, Bosnia "
        "Herzegovina/Bosnia and Herzegovina BA BIH, Britain/United Kingdom/Great Britain/UK GB GBR, Bulgaria "
        "BG BGR, Croatia HR HRV, Czechia/Czech Republic CZ CZE, Denmark DK DNK, Estonia EE EST, Faroe Islands FO FRO, "
        "Finland FI FIN, France FR FRA, Germany DE DEU, Gibraltar GI GIB, Greece GR GRC, Guernsey GG GGY, "
        "Hungary HU HUN, Iceland IS ISL, Ireland IE IRL, Isle of Man IM IMN, Italy IT ITA, Jersey JE JEY, Kosovo, "
        "Latvia LV LVA, Liechtenstein LI LIE, Lithuania LT LTU, Luxembourg LU LUX, Malta MT MLT, Moldova MD MDA, "
        "Monaco MC MCO, Montenegro ME MNE, Netherlands/The Netherlands NL NLD, North Macedonia/Macedonia MK MKD, "
        "Northern Ireland, Norway NO NOR, Poland PL POL, Portugal PT PRT, Romania RO ROU, Russia/Russian Federation "
        "RU RUS, San Marino SM SMR, Serbia RS SRB, Slovakia SK SVK, Slovenia SI SVN, Spain ES ESP, Sweden SE SWE, "
        "Switzerland CH CHE, Ukraine UA UKR, Vatican VA VAT"
    ),
    "North America": (
        "Anguilla AI AIA, Antigua and Barbuda AG ATG, Aruba AW ABW, Bahamas/The Bahamas BS BHS, Barbados BB BRB, "
        "Belize BZ BLZ, Bermuda BM BMU, British Virgin Islands VG VGB, Canada CA CAN, Cayman Islands KY CYM, Costa "
        "Rica CR CRI, Cuba CU CUB, Curaçao CW CUW, Dominica DM DMA, Dominican Republic DO DOM, El Salvador SV SLV, "
        "Greenland GL GRL, Grenada GD GRD, Guadeloupe GP GLP, Guatemala GT GTM, Haiti HT HTI, Honduras HN HND, "
        "Jamaica JM JAM, Martinique MQ MTQ, Mexico MX MEX, Montserrat MS MSR, Nicaragua NI NIC, Panama PA PAN, Puerto "
        "Rico PR PRI, Sint Maarten SX SXM, St. Kitts and Nevis KN KNA, St. Lucia LC LCA, St. Vincent and the "
        "Grenadines VC VCT, Trinidad and Tobago TT TTO, Turks and Caicos Islands TC TCA, United States/United States "
        "of America US USA, United States Virgin Islands VI VIR"
    ),
    "Oceania": (
        "American Samoa AS ASM, Australia AU AUS, Cook Islands CK COK, Fiji FJ FJI, French Polynesia PF PYF, Guam GU "
        "GUM, Kiribati KI KIR, Marshall Islands MH MHL, Micronesia FM FSM, Nauru NR NRU, New Caledonia NC NCL, New "
        "Zealand NZ NZL, Niue NU NIU, Northern Mariana Islands MP MNP, Palau PW PLW, Papua New Guinea PG PNG, Samoa "
        "WS WSM, Solomon Islands SB SLB, Tonga TO TON, Tuvalu TV TUV, Vanuatu VU VUT"
    ),
    "South America": (
        "Argentina AR ARG, Bolivia BO BOL, Brazil BR BRA, Chile CL CHL, Colombia CO COL, Ecuador EC ECU, Falkland "
        "Islands FK FLK, French Guiana GF GUF, Guyana GY GUY, Paraguay PY PRY, Peru PE PER, Suriname SR SUR, Uruguay "
        "UY URY, Venezuela VE VEN"
    ),
}
"""Continents as the United Nations' M49 standard has them; Taiwan and Kosovo, which it does not list, are in Asia and
Europe. Each country has its names, with "/" between them, and its codes of two and three letters (ISO 3166)."""

_ENTRY = re.compile(r"(?P<names>.+?)(?P<codes>(?: [A-Z]{2,3})*)")


def _spellings() -> Iterator[tuple[str, str]]:
    """Names in small letters, and codes, each with its continent."""
    for continent, countries in _COUNTRIES.items():
        for entry in countries.split(", "):
            if match := _ENTRY.fullmatch(entry):
                yield from ((name.casefold(), continent) for name in match["names"].split("/"))
                yield from ((code, continent) for code in match["codes"].split())


_CONTINENT = dict(_spellings())


def country(attribute: str) -> str:
    """The country of GlobalOpinionQA's attribute, under one name, without its note on the sample in brackets."""
    name = re.sub(r"\s*\([^()]*\bsample\)\s*\Z", "", attribute).strip()
    return _ONE_NAME.get(name, name)


def continent(attribute: str) -> str:
    """The continent of a country, by its name or its code, such as "South America", or OTHER."""
    name = country(attribute)
    return _CONTINENT.get(name, _CONTINENT.get(name.casefold(), OTHER))
