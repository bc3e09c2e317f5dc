"""What columns and tables are called: names, in common spellings of several languages, and what they stand for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache


def _set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


PROVIDERS = _set(
    "name first_name last_name email username phone address city state country postcode company job url ip uuid iban "
    "card national_id password text words date pattern digits integer json blob"
)
"""Every provider that a column may name."""

_SPELLINGS: Mapping[str, str] = {
    "first_name": "firstname forename fname givenname given namefirst namegiven middlename mname middleinitial middle "
    "prenom vorname rufname primernombre segundonombre primeironome voornaam fornamn fornavn etunimi imie cognomen",
    "last_name": "lastname surname lname familyname namelast maidenname maiden birthname patronymic nachname "
    "familienname zuname geburtsname nomdefamille nomfamille apellido apellidos primerapellido segundoapellido cognome "
    "sobrenome ultimonome achternaam efternamn etternavn efternavn sukunimi nazwisko",
    "name": "fullname personname realname displayname legalname nomcomplet nombrecompleto nomecompleto headofstate "
    "recipient addressee cardholder accountholder signatory nextofkin author authors composer composers salesperson "
    "contactperson ansprechpartner attn",
    "email": "email mail emailaddress mailaddress emailaddr emailid courriel adressemail mailadresse correo "
    "correoelectronico epost epostadresse",
    "username": "username loginname login userlogin nickname screenname handle benutzername nomutilisateur usuario "
    "nombreusuario gebruikersnaam samaccountname",
    "phone": "phone phonenumber telephone telephonenumber tel telno telnr telefon telefonnummer telefono telefone "
    "telefoon mobile mobilephone mobil mobilnummer movil cell cellphone celular cellulare handy handynummer portable "
    "fax faxnumber faxno telefax whatsapp msisdn extension ext phoneext durchwahl homephone workphone "
    "contactnumber contactno",
    "address": "address addr streetaddress street streetname strasse hausnummer housenumber rue adresse adres adress "
    "anschrift direccion domicilio endereco morada indirizzo via calle residence mailingaddress postaladdress osoite",
    "postcode": "postcode postalcode zip zipcode zippostal plz postleitzahl codepostal codigopostal codpostal cep cap "
    "postnummer postnr pincode eircode",
    "city": "city town cityname municipality birthplace birthcity placeofbirth geburtsort lieudenaissance ville "
    "commune stadt ort wohnort ciudad cidade citta comune stad plaats by miasto localidad lugarnacimiento hometown",
    "state": "state statename province provincename county countyname district bundesland canton provincia estado "
    "departement stateprovince",
    "country": "country countryname nation nationality land pays pais paese kraj staatsangehoerigkeit nationalite "
    "nacionalidad birthcountry",
    "company": "company companyname employer firm firma firmenname unternehmen entreprise societe raisonsociale "
    "empresa azienda bedrijf businessname organisationname organizationname orgname",
    "job": "job jobtitle occupation profession contacttitle beruf metier puesto cargo functie jobposition",
    "url": "url uri website webpage homepage webaddress weburl siteurl link websiteurl profileurl photourl",
    "ip": "ip ipaddress ipaddr ipv4 ipv6 clientip remoteip sourceip lastip hostip remoteaddr",
    "iban": "iban ibannumber",
    "card": "creditcard creditcardnumber creditcardno cardnumber cardno ccnumber ccnum cardnum debitcard pan "
    "kreditkarte kartennummer numerocarte numerotarjeta",
    "national_id": "ssn socialsecurity socialsecuritynumber socialsecurityno sin nin nino nationalid nationalidnumber "
    "idcard idcardnumber personalid personnummer fodselsnummer cpr bsn pesel cpf rut dni nie nif curp aadhaar nric "
    "taxid taxnumber tin steuernummer steuerid sozialversicherungsnummer ahv avs numerosecu codicefiscale "
    "passport passportnumber passportno reisepass driver drivers driverlicense driverslicense driverlicence "
    "driverslicence driverlicensenumber licensenumber licencenumber mrn medicalrecordnumber medicalrecord nhsnumber "
    "insurancenumber policyholderid versichertennummer",
    "pattern": "accountnumber accountno bankaccount bankaccountnumber kontonummer kontonr routingnumber sortcode bic "
    "swift licenseplate licenceplate plate numberplate kennzeichen vin macaddress mac imei imsi deviceid",
    "password": "password passwd pwd pass passwordhash passwort kennwort motdepasse contrasena senha wachtwoord secret "
    "apikey apitoken accesstoken authtoken refreshtoken token privatekey salt passphrase pin pincodehash sessiontoken",
}
_PROVIDER_OF = {word: provider for provider, words in _SPELLINGS.items() for word in words.split()}
_TELLING_ENDINGS = tuple(
    sorted(
        _set(
            "email phone telephone address adresse street password postcode zipcode surname lastname firstname "
            "username fullname passport iban homepage website telefon"
        )
    )
)
"""Words that are telling even glued to others: `billingaddress`."""
_WHOLE_NAMES = {"first": "first_name", "last": "last_name", "contact": "name", "names": "name"}
"""Words that stand for a person's name only when there is nothing beside them."""
_LAST_RESORT = _set("given middle via land by ort cap pin pass salt link handle extension ext portable")
"""Spellings that mean something else in company: `last_login_via`, `given_count`."""
_TRAILING = _set(
    "number no nr num line text value raw original old new encrypted hash hashed masked primary secondary home work "
    "main private business alt alternate alternative other local full"
)
"""Words after the one that counts: `phone_number`, `address_line_1`, `email_home`."""
AMBIGUOUS_WORDS = _set("contact mobile cell handle login link extension portable handy plate token")
"""Spellings that may as well be called after something else: a `contact` made by letter or by telephone."""
NAME_WORDS = _set("name names nm nom nome nombre naam namn navn nimi nazwa")
TITLE_WORDS = _set("title titel titre titulo label caption")
PERSON_WORDS = _set(
    "abonne actor adherent agent alumno applicant architect athlete attendee author beneficiary benutzer borrower "
    "buyer candidate cardholder citizen client cliente coach conductor consumer contact contractor customer "
    "director doctor donor driver editor eleve empleado employee estudiante etudiant funcionario guest individual "
    "instructor insured judge klant kunde kunden lawyer lead manager medewerker member mitarbeiter nurse owner "
    "paciente participant passenger patient patienten people person persona personen personne pessoa physician "
    "pilot player producer professor prospect pupil rep resident respondent rider salarie salesperson scientist "
    "shopper singer spouse staff student subscriber swimmer teacher tenant user usuario utilisateur visitor "
    "volunteer voter worker writer"
)
"""What tables of persons are called, in the singular."""
_PERSON_PREFIXES = PERSON_WORDS | _set(
    "owner author composer director artist singer provider recipient sender payee holder seller lender lawyer judge "
    "parent guardian mother father emergency referee trainer coach president ceo leader reviewer assignee creator "
    "bill billing ship shipping delivery"
)
"""What stands before `name` in a column that holds a person's name."""
CATEGORY_WORDS = _set(
    "type typ status category categorie kategorie class klasse kind level grade gender sex race ethnicity marital "
    "marriage education language lang currency color colour size unit units role rank priority severity method mode "
    "stage phase segment channel code flag rating region weekday month quarter is has active tier band group"
)
TEXT_WORDS = _set(
    "description desc descr notes note comment comments remark remarks message body text content summary bio biography "
    "abstract review feedback memo detail details narrative observation observations bemerkung bemerkungen kommentar "
    "beschreibung commentaire commentaires descripcion observaciones descricao opis"
)
ID_WORDS = _set("id uid uuid guid key no nr num number code sku isbn ean upc ref reference serial hash")
_SHORT_FOR_PERSONS = _set("cust emp usr pers pat")
BIRTH_WORDS = _set(
    "birthdate birthday dob dateofbirth bdate born birth geburtsdatum geboren datedenaissance fechanacimiento "
    "datanascimento geboortedatum"
)
PERSONAL_WORDS = _set("gender sex geschlecht sexe sexo birthdate dob ssn marital race ethnicity maiden")
"""What tables hold of persons rather than of things."""
LATITUDE_WORDS = _set("lat latitude breitengrad latitud")
LONGITUDE_WORDS = _set("lon lng long longitude laengengrad longitud")


@lru_cache(maxsize=65536)
def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, in lower case and without accents.

    >>> words_of("homePhone_Nr2"), words_of("Prénom")
    (('home', 'phone', 'nr', '2'), ('prenom',))
    """
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain)
    return tuple(word.casefold() for word in re.findall(r"[^\W\d_]+|\d+", split))


def head_of(name: str) -> tuple[str, ...]:
    """The words of a name up to the one that says what it is.

    >>> head_of("address_line_2"), head_of("phone_type")
    (('address',), ('phone', 'type'))
    """
    words = list(words_of(name))
    while len(words) > 1 and (words[-1].isdigit() or (words[-1] in _TRAILING and "".join(words) not in _PROVIDER_OF)):
        words.pop()
    return tuple(words)


def provider_named(name: str) -> str:
    """The provider that a column's name asks for; empty when it says nothing.

    >>> provider_named("emailAddress"), provider_named("Vorname"), provider_named("phone_type")
    ('email', 'first_name', '')
    """
    found = _longest_spelling(name)
    if found:
        return _PROVIDER_OF.get(found, _WHOLE_NAMES.get(found, ""))
    return "name" if _is_persons_name(head_of(name)) else ""


def role_of(name: str, table: str) -> str:
    """Whose e-mail, phone or name a column holds, where a row tells of several persons; empty for the row's own.

    >>> role_of("shipping_first_name", "orders"), role_of("customer_email", "customers"), role_of("last_name", "users")
    ('shipping', '', '')
    """
    words, found = head_of(name), _longest_spelling(name)
    for size in range(1, len(words) + 1):
        if "".join(words[-size:]) == found:
            words = words[:-size]
            break
    own = {_singular(word) for word in words_of(table)} | NAME_WORDS
    return "_".join(word for word in words if _singular(word) not in own)


def names_person(table: str) -> bool:
    """Whether a table's name says that its rows are persons.

    >>> names_person("Customers"), names_person("customer_orders"), names_person("people")
    (True, False, True)
    """
    words = [word for word in words_of(table) if not word.isdigit()]
    return bool(words) and _singular(words[-1]) in PERSON_WORDS


def numbers_persons(column: str) -> bool:
    """Whether a column's name says that its values number persons.

    >>> numbers_persons("Customer ID"), numbers_persons("empNo"), numbers_persons("userid")
    (True, True, True)
    >>> numbers_persons("user_type_id")
    False
    """
    words = words_of(column)
    if len(words) > 1 and words[-1] in ID_WORDS:
        return _singular(words[-2]) in PERSON_WORDS | _SHORT_FOR_PERSONS
    return bool(words) and words[-1].endswith("id") and _singular(words[-1][:-2]) in PERSON_WORDS


def _longest_spelling(name: str) -> str:
    """The longest known spelling at the end of a name."""
    words = head_of(name)
    if len(words) == 1 and words[0] in _WHOLE_NAMES:
        return words[0]
    for size in range(min(4, len(words)), 0, -1):
        glued = "".join(words[-size:])
        if glued in _PROVIDER_OF and (len(words) == size or glued not in _LAST_RESORT):
            return glued
    return next((ending for ending in _TELLING_ENDINGS if words and words[-1].endswith(ending)), "")


def _is_persons_name(words: tuple[str, ...]) -> bool:
    if len(words) > 1 and words[-1] in NAME_WORDS:
        return _singular(words[-2]) in _PERSON_PREFIXES | _SHORT_FOR_PERSONS
    return len(words) == 1 and words[0].endswith("name") and _singular(words[0][:-4]) in _PERSON_PREFIXES


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and word not in PERSON_WORDS else word
