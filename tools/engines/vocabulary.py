"""The words that descriptions are made of, in seven languages.

Frames hold ``{}`` where a word goes. Colours are nouns in German ("in Rot") and masculine in the
Romance languages, so that they agree with the "background" beside them.
"""

import re
from dataclasses import dataclass

LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pt")


@dataclass(frozen=True)
class Frames:
    """How one language puts a description together."""

    image: str
    close_up: str
    portrait: str
    people: tuple[str, ...]
    """One person, two, three, four, five, and ``{}`` of them."""
    coloured: str
    """The colours of a subject; "" where they stand before it, as in English."""
    mainly: str
    background: str
    transparent: str
    black_and_white: str
    text: str
    places: dict[str, str]
    """Left, right, top, bottom."""
    also: str
    """The "and" between two colours."""


FRAMES = {
    "en": Frames(
        image="Image",
        close_up="Close-up of {}",
        portrait="Portrait of a person",
        people=(
            "A person",
            "Two people",
            "Three people",
            "Four people",
            "Five people",
            "{} people",
        ),
        coloured=" in {}",
        mainly=", mainly {}",
        background=" on a {} background",
        transparent=" on a transparent background",
        black_and_white=", in black and white",
        text=", with the text “{}”",
        places={
            "left": ", on the left of the picture",
            "right": ", on the right of the picture",
            "top": ", at the top of the picture",
            "bottom": ", at the bottom of the picture",
        },
        also=" and ",
    ),
    "de": Frames(
        image="Bild",
        close_up="{} in Nahaufnahme",
        portrait="Porträt einer Person",
        people=(
            "Eine Person",
            "Zwei Personen",
            "Drei Personen",
            "Vier Personen",
            "Fünf Personen",
            "{} Personen",
        ),
        coloured=" in {}",
        mainly=", vor allem in {}",
        background=" vor {} Hintergrund",
        transparent=" auf transparentem Hintergrund",
        black_and_white=", in Schwarz-Weiß",
        text=", mit dem Text „{}“",
        places={
            "left": ", links im Bild",
            "right": ", rechts im Bild",
            "top": ", oben im Bild",
            "bottom": ", unten im Bild",
        },
        also=" und ",
    ),
    "fr": Frames(
        image="Image",
        close_up="{} en gros plan",
        portrait="Portrait d'une personne",
        people=(
            "Une personne",
            "Deux personnes",
            "Trois personnes",
            "Quatre personnes",
            "Cinq personnes",
            "{} personnes",
        ),
        coloured=" en {}",
        mainly=", principalement en {}",
        background=" sur fond {}",
        transparent=" sur fond transparent",
        black_and_white=", en noir et blanc",
        text=", avec le texte « {} »",
        places={
            "left": ", à gauche de l'image",
            "right": ", à droite de l'image",
            "top": ", en haut de l'image",
            "bottom": ", en bas de l'image",
        },
        also=" et ",
    ),
    "es": Frames(
        image="Imagen",
        close_up="{} en primer plano",
        portrait="Retrato de una persona",
        people=(
            "Una persona",
            "Dos personas",
            "Tres personas",
            "Cuatro personas",
            "Cinco personas",
            "{} personas",
        ),
        coloured=" en {}",
        mainly=", principalmente en {}",
        background=" sobre fondo {}",
        transparent=" sobre fondo transparente",
        black_and_white=", en blanco y negro",
        text=", con el texto «{}»",
        places={
            "left": ", a la izquierda de la imagen",
            "right": ", a la derecha de la imagen",
            "top": ", en la parte superior de la imagen",
            "bottom": ", en la parte inferior de la imagen",
        },
        also=" y ",
    ),
    "it": Frames(
        image="Immagine",
        close_up="{} in primo piano",
        portrait="Ritratto di una persona",
        people=(
            "Una persona",
            "Due persone",
            "Tre persone",
            "Quattro persone",
            "Cinque persone",
            "{} persone",
        ),
        coloured=" in {}",
        mainly=", soprattutto in {}",
        background=" su sfondo {}",
        transparent=" su sfondo trasparente",
        black_and_white=", in bianco e nero",
        text=", con il testo «{}»",
        places={
            "left": ", a sinistra nell'immagine",
            "right": ", a destra nell'immagine",
            "top": ", in alto nell'immagine",
            "bottom": ", in basso nell'immagine",
        },
        also=" e ",
    ),
    "nl": Frames(
        image="Afbeelding",
        close_up="{} van dichtbij",
        portrait="Portret van een persoon",
        people=(
            "Een persoon",
            "Twee personen",
            "Drie personen",
            "Vier personen",
            "Vijf personen",
            "{} personen",
        ),
        coloured=" in {}",
        mainly=", vooral in {}",
        background=" op een {} achtergrond",
        transparent=" op een transparante achtergrond",
        black_and_white=", in zwart-wit",
        text=", met de tekst “{}”",
        places={
            "left": ", links in beeld",
            "right": ", rechts in beeld",
            "top": ", boven in beeld",
            "bottom": ", onder in beeld",
        },
        also=" en ",
    ),
    "pt": Frames(
        image="Imagem",
        close_up="{} em primeiro plano",
        portrait="Retrato de uma pessoa",
        people=(
            "Uma pessoa",
            "Duas pessoas",
            "Três pessoas",
            "Quatro pessoas",
            "Cinco pessoas",
            "{} pessoas",
        ),
        coloured=" em {}",
        mainly=", principalmente em {}",
        background=" sobre fundo {}",
        transparent=" sobre fundo transparente",
        black_and_white=", em preto e branco",
        text=", com o texto “{}”",
        places={
            "left": ", à esquerda da imagem",
            "right": ", à direita da imagem",
            "top": ", na parte superior da imagem",
            "bottom": ", na parte inferior da imagem",
        },
        also=" e ",
    ),
}


def _table(text: str) -> dict[str, dict[str, str]]:
    """Lines of words with bars between them, English first, by English word and language."""
    rows = [[word.strip() for word in line.split("|")] for line in text.strip().splitlines()]
    return {row[0]: dict(zip(LANGUAGES, row, strict=True)) for row in rows}


COLOURS = _table("""
black|Schwarz|noir|negro|nero|zwart|preto
dark grey|Dunkelgrau|gris foncé|gris oscuro|grigio scuro|donkergrijs|cinza escuro
grey|Grau|gris|gris|grigio|grijs|cinza
light grey|Hellgrau|gris clair|gris claro|grigio chiaro|lichtgrijs|cinza claro
white|Weiß|blanc|blanco|bianco|wit|branco
cream|Creme|crème|crema|crema|crème|creme
beige|Beige|beige|beige|beige|beige|bege
brown|Braun|marron|marrón|marrone|bruin|marrom
dark brown|Dunkelbraun|marron foncé|marrón oscuro|marrone scuro|donkerbruin|marrom escuro
dark red|Dunkelrot|rouge foncé|rojo oscuro|rosso scuro|donkerrood|vermelho escuro
red|Rot|rouge|rojo|rosso|rood|vermelho
orange|Orange|orange|naranja|arancione|oranje|laranja
yellow|Gelb|jaune|amarillo|giallo|geel|amarelo
olive green|Olivgrün|vert olive|verde oliva|verde oliva|olijfgroen|verde-oliva
light green|Hellgrün|vert clair|verde claro|verde chiaro|lichtgroen|verde claro
green|Grün|vert|verde|verde|groen|verde
dark green|Dunkelgrün|vert foncé|verde oscuro|verde scuro|donkergroen|verde escuro
turquoise|Türkis|turquoise|turquesa|turchese|turquoise|turquesa
light blue|Hellblau|bleu clair|azul claro|azzurro|lichtblauw|azul claro
blue|Blau|bleu|azul|blu|blauw|azul
dark blue|Dunkelblau|bleu foncé|azul oscuro|blu scuro|donkerblauw|azul escuro
purple|Violett|violet|morado|viola|paars|roxo
lilac|Flieder|lilas|lila|lilla|lila|lilás
pink|Rosa|rose|rosa|rosa|roze|rosa
""")

THINGS = _table("""
fish|Fisch|poisson|pez|pesce|vis|peixe
shark|Hai|requin|tiburón|squalo|haai|tubarão
bird|Vogel|oiseau|pájaro|uccello|vogel|pássaro
frog|Frosch|grenouille|rana|rana|kikker|rã
turtle|Schildkröte|tortue|tortuga|tartaruga|schildpad|tartaruga
lizard|Eidechse|lézard|lagarto|lucertola|hagedis|lagarto
crocodile|Krokodil|crocodile|cocodrilo|coccodrillo|krokodil|crocodilo
snake|Schlange|serpent|serpiente|serpente|slang|cobra
spider|Spinne|araignée|araña|ragno|spin|aranha
snail|Schnecke|escargot|caracol|lumaca|slak|caracol
crab|Krabbe|crabe|cangrejo|granchio|krab|caranguejo
lobster|Hummer|homard|langosta|aragosta|kreeft|lagosta
whale|Wal|baleine|ballena|balena|walvis|baleia
dog|Hund|chien|perro|cane|hond|cachorro
wolf|Wolf|loup|lobo|lupo|wolf|lobo
fox|Fuchs|renard|zorro|volpe|vos|raposa
cat|Katze|chat|gato|gatto|kat|gato
big cat|Großkatze|grand félin|gran felino|grande felino|grote kat|grande felino
bear|Bär|ours|oso|orso|beer|urso
insect|Insekt|insecte|insecto|insetto|insect|inseto
butterfly|Schmetterling|papillon|mariposa|farfalla|vlinder|borboleta
rabbit|Kaninchen|lapin|conejo|coniglio|konijn|coelho
horse|Pferd|cheval|caballo|cavallo|paard|cavalo
zebra|Zebra|zèbre|cebra|zebra|zebra|zebra
cow|Rind|bovin|vaca|mucca|rund|vaca
sheep|Schaf|mouton|oveja|pecora|schaap|ovelha
monkey|Affe|singe|mono|scimmia|aap|macaco
elephant|Elefant|éléphant|elefante|elefante|olifant|elefante
guitar|Gitarre|guitare|guitarra|chitarra|gitaar|violão
plane|Flugzeug|avion|avión|aereo|vliegtuig|avião
backpack|Rucksack|sac à dos|mochila|zaino|rugzak|mochila
bag|Tasche|sac|bolso|borsa|tas|bolsa
car|Auto|voiture|coche|automobile|auto|carro
bottle|Flasche|bouteille|botella|bottiglia|fles|garrafa
bicycle|Fahrrad|vélo|bicicleta|bicicletta|fiets|bicicleta
bus|Bus|bus|autobús|autobus|bus|ônibus
truck|Lastwagen|camion|camión|camion|vrachtwagen|caminhão
train|Zug|train|tren|treno|trein|trem
boat|Boot|bateau|barco|barca|boot|barco
motorcycle|Motorrad|moto|moto|moto|motor|moto
rocket|Rakete|fusée|cohete|razzo|raket|foguete
candle|Kerze|bougie|vela|candela|kaars|vela
castle|Schloss|château|castillo|castello|kasteel|castelo
church|Kirche|église|iglesia|chiesa|kerk|igreja
mobile phone|Mobiltelefon|téléphone|teléfono móvil|cellulare|telefoon|celular
laptop|Laptop|ordinateur portable|portátil|computer portatile|laptop|notebook
computer|Computer|ordinateur|ordenador|computer|computer|computador
camera|Kamera|appareil photo|cámara|fotocamera|camera|câmera
clock|Uhr|horloge|reloj|orologio|klok|relógio
wristwatch|Armbanduhr|montre|reloj de pulsera|orologio da polso|horloge|relógio de pulso
coat|Mantel|manteau|abrigo|cappotto|jas|casaco
dress|Kleid|robe|vestido|vestito|jurk|vestido
jeans|Jeans|jean|vaqueros|jeans|spijkerbroek|calça jeans
sweater|Pullover|pull|jersey|maglione|trui|suéter
shoe|Schuh|chaussure|zapato|scarpa|schoen|sapato
sunglasses|Sonnenbrille|lunettes de soleil|gafas de sol|occhiali da sole|zonnebril|óculos de sol
necklace|Halskette|collier|collar|collana|ketting|colar
hat|Hut|chapeau|sombrero|cappello|hoed|chapéu
helmet|Helm|casque|casco|casco|helm|capacete
chair|Stuhl|chaise|silla|sedia|stoel|cadeira
table|Tisch|table|mesa|tavolo|tafel|mesa
sofa|Sofa|canapé|sofá|divano|bank|sofá
bed|Bett|lit|cama|letto|bed|cama
lamp|Lampe|lampe|lámpara|lampada|lamp|luminária
pillow|Kissen|coussin|cojín|cuscino|kussen|almofada
pan|Pfanne|poêle|sartén|padella|pan|frigideira
pot|Topf|pot|olla|pentola|pot|panela
plate|Teller|assiette|plato|piatto|bord|prato
cup of coffee|Tasse Kaffee|tasse de café|taza de café|tazza di caffè|kop koffie|xícara de café
vase|Vase|vase|jarrón|vaso|vaas|vaso
flowerpot|Blumentopf|pot de fleurs|maceta|vaso da fiori|bloempot|vaso de flores
basket|Korb|panier|cesta|cesto|mand|cesta
ball|Ball|ballon|pelota|palla|bal|bola
soft toy|Kuscheltier|peluche|peluche|peluche|knuffel|bicho de pelúcia
umbrella|Regenschirm|parapluie|paraguas|ombrello|paraplu|guarda-chuva
perfume|Parfüm|parfum|perfume|profumo|parfum|perfume
lipstick|Lippenstift|rouge à lèvres|pintalabios|rossetto|lippenstift|batom
glass of wine|Glas Wein|verre de vin|copa de vino|bicchiere di vino|glas wijn|taça de vinho
glass of beer|Glas Bier|verre de bière|vaso de cerveza|bicchiere di birra|glas bier|copo de cerveja
ice cream|Eis|glace|helado|gelato|ijs|sorvete
bread|Brot|pain|pan|pane|brood|pão
burger|Burger|burger|hamburguesa|hamburger|hamburger|hambúrguer
pizza|Pizza|pizza|pizza|pizza|pizza|pizza
strawberry|Erdbeere|fraise|fresa|fragola|aardbei|morango
apple|Apfel|pomme|manzana|mela|appel|maçã
orange|Orange|orange|naranja|arancia|sinaasappel|laranja
lemon|Zitrone|citron|limón|limone|citroen|limão
banana|Banane|banane|plátano|banana|banaan|banana
pineapple|Ananas|ananas|piña|ananas|ananas|abacaxi
mushroom|Pilz|champignon|seta|fungo|paddenstoel|cogumelo
flower|Blume|fleur|flor|fiore|bloem|flor
mountain|Berg|montagne|montaña|montagna|berg|montanha
coast|Küste|côte|costa|costa|kust|costa
lake|See|lac|lago|lago|meer|lago
bridge|Brücke|pont|puente|ponte|brug|ponte
""")
"""The groups of `recognising`. What else it may say has an English name only."""

UNCOUNTED = frozenset(
    {
        "bread", "broccoli", "carbonara", "chain mail", "consomme", "corn", "dough", "eggnog",
        "face powder", "guacamole", "hay", "head cabbage", "hot pot", "ice cream", "lotion",
        "mashed potato", "perfume", "sunscreen", "toilet tissue", "velvet", "wool",
    }
)  # fmt: skip
"""English words that take no "a"."""


def article(word: str) -> str:
    """An English "a" or "an", by the sound of the word."""
    sounds_like_you = re.match(r"(?:uni|use|eu|one|u[^aeiou][aeiou])", word, re.IGNORECASE)
    return "an" if word[:1].lower() in "aeiou" and not sounds_like_you else "a"


_UNDECLINED = {"Beige", "Creme", "Flieder", "Orange", "Rosa"}
_DUTCH = {"grijs": "grijze", "wit": "witte", "rood": "rode", "geel": "gele"}


def on_background(colour: str, language: str) -> str:
    """The end of a sentence that says which colour is behind it all, by its English name."""
    frame, word = FRAMES[language].background, COLOURS[colour][language]
    match language:
        case "en":
            return frame.replace("a {}", "{} {}").format(article(word), word)
        case "de" if word in _UNDECLINED:
            return f" vor einem Hintergrund in {word}"
        case "de":
            return frame.format(f"{word.lower()}em")
        case "nl":
            for ending, declined in _DUTCH.items():
                if word.endswith(ending):
                    return frame.format(word.removesuffix(ending) + declined)
            return frame.format(word if word[-1] in "ae" else f"{word}e")
    return frame.format(word)


OPENINGS = {
    "en": r"(?:an? |the )?(?:image|picture|photo|photograph) (?:of|showing|shows) ",
    "de": r"(?:das |ein )?(?:bild|foto)(?: zeigt| von| einer| eines) ",
    "fr": r"(?:une |l[''])?(?:image|photo)(?: de | d['']| montrant )",
    "es": r"(?:una |la )?(?:imagen|foto)(?: de | que muestra )",
    "it": r"(?:un['']|una |l[''])?(?:immagine|foto)(?: di | che mostra )",
    "nl": r"(?:een |de )?(?:afbeelding|foto)(?: van | met )",
    "pt": r"(?:uma |a )?(?:imagem|foto)(?: de | que mostra )",
}
"""Beginnings that say nothing to someone whose screen reader has just said "image"."""

NAMES = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "it": "Italian",
    "nl": "Dutch",
    "pt": "Portuguese",
}
"""The languages by their English names."""
