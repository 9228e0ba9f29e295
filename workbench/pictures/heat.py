"""Over the pictures of an exchange: how far the breaker turned what stands at each patch."""

import streamlit as st

from engine.figures.labels import escaped
from engine.figures.patches import patch_rows, patches_figure
from engine.records.chats.chat import Chat, Exchange
from engine.records.chats.replies import PictureTrip, Reply
from engine.records.conversation import Picture
from engine.records.errors import DataError
from workbench.chat.columns import column_names
from workbench.chat.trip import BLOCK
from workbench.kit.blur import is_hidden
from workbench.kit.charts import on_screen
from workbench.kit.downloads import file_buttons, picture_config
from workbench.kit.pictures import LARGEST, picture_png, picture_size
from workbench.kit.words import plain
from workbench.pictures.patch_table import patch_table

ABOUT = (
    "Cosine between the base model's and the circuit-broken model's activations of the same positions, standardised: 1 "
    "(clear) nothing moved, 0 or less (strong) turned away. What stands at a patch was read before the question: it is "
    "turned by the picture alone. Finer tiles, as LLaVA-NeXT reads them, are not drawn."
)
CUT = " The dotted frame is what the model is shown."
# Pixels of a map that stands alone; in a narrow window it takes what there is.
ALONE = 560


def heat_maps(chat: Chat, number: int) -> None:
    """One for each picture and circuit-broken column of this exchange, where they were measured."""
    exchange, reply = chat.exchange(number), chat.reply(number)
    pictures = {part.sha256: part for part in exchange.parts if isinstance(part, Picture)}
    trips = [trip for trip in reply.picture_trips if trip.picture in pictures]
    if not trips:
        return
    st.subheader("Where the picture was turned", anchor=False)
    if number != chat.numbers()[-1]:
        st.caption("Of the last question that came with its picture, and the answers to it.")
    hidden = chat.reads_harm(number) and is_hidden(f"chat_{chat.id}_{number}")
    # An empty column beside a single map would be a gap below it in a narrow window.
    places = st.columns(len(trips), gap="large") if len(trips) > 1 else [st.container(width=ALONE)]
    for place, trip in zip(places, trips, strict=True):
        with place:
            _map(exchange, reply, trip, pictures[trip.picture], hidden=hidden, name=f"{chat.id}-{number}")
    is_cut = any(trip.box != (0, 0, 1, 1) for trip in trips)
    st.caption(plain(ABOUT + CUT * is_cut))


def _map(exchange: Exchange, reply: Reply, trip: PictureTrip, picture: Picture, *, hidden: bool, name: str) -> None:
    block = min(max(0, int(st.session_state.get(BLOCK, 0))), len(trip.cosines) - 1)
    try:
        size, png = picture_size(picture), b"" if hidden else picture_png(picture, hidden=False, edge=LARGEST)
    except DataError as error:
        st.caption(plain(str(error)))
        return
    who = column_names(exchange.columns)[trip.column]
    figure = patches_figure(trip, block, size=size, png=png, title=f"{escaped(who)}, block {block}")
    file = f"patches-{name}-{trip.column}-{trip.picture[:6]}"
    told = _told(trip, reply, block)
    st.plotly_chart(on_screen(figure), key=file, config=picture_config(file), alt=f"Patches of the picture. {told}")
    st.caption(plain(told + (" Reveal the message to see the picture below." if hidden else "")))
    table = patch_table(patch_rows(trip, block))
    with st.expander("As a table", icon=":material/table:"):
        st.table(table.set_index("row"))
        file_buttons(figure, table, file=file)


def _told(trip: PictureTrip, reply: Reply, block: int) -> str:
    """The figures in a sentence, with those of the answer beside them."""
    cosines = trip.cosines[block]
    least = min(range(len(cosines)), key=cosines.__getitem__)
    where = f"row {least // trip.side + 1}, column {least % trip.side + 1}"
    said = f"{trip.side} x {trip.side} patches: mean cosine {sum(cosines) / len(cosines):.2f}, "
    said += f"least {cosines[least]:.2f} at {where}."
    for over_answer in reply.trips:
        # Without the words that were put in the model's mouth.
        if over_answer.column == trip.column and (answer := over_answer.cosines[block][over_answer.prefill :]):
            said += f" Its {len(answer)} answer tokens: mean {sum(answer) / len(answer):.2f}, least {min(answer):.2f}."
    return said
