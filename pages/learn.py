"""Learn: units of steps that check themselves by what was done (?unit=NAME&step=ID), and the teacher's sheet."""

import streamlit as st

from engine.records.lessons.reading import read_lessons
from workbench.kit.frame import page_frame
from workbench.kit.state import settings
from workbench.kit.words import plain
from workbench.learn.place import here
from workbench.learn.sheet import sheet_view
from workbench.learn.unit import unit_view
from workbench.learn.units import units_view


def learn() -> None:
    lessons = read_lessons(settings())
    place = here()
    lesson = lessons.named(place.unit)
    if place.sheet:
        st.title("Lessons: the teacher's sheet", anchor=False)
        sheet_view(lessons)
    elif lesson is not None:
        st.title(lesson.unit.title, anchor=False)
        unit_view(lesson, lessons, place.step)
    else:
        st.title("Learn", anchor=False)
        if place.unit:
            text = f"There is no unit '{place.unit}': choose one of those below."
            st.warning(plain(text), icon=":material/link_off:")
        units_view(lessons)


with page_frame():
    learn()
