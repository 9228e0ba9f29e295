"""The workbench's entry: names the pages, shows the worker, starts it if none is alive.

Run it with `streamlit run workbench/app.py`.
"""

from pathlib import Path

import streamlit as st

from workbench.kit.frame import caught, places
from workbench.kit.state import note_arrival
from workbench.process import end_in_time, pass_over_libraries
from workbench.sidebar import sidebar

# An icon by name would be fetched from a font server at each start: this one is drawn here.
st.set_page_config(
    page_title="Circuit breaker workbench", page_icon=Path(__file__).with_name("icon.svg"), layout="wide"
)
if not st.get_option("server.address"):
    # Streamlit reads its settings in the folder that it is started in, and without them listens to everybody.
    st.error(
        f"The workbench was started in another folder than its own, so that its settings were not read: start it in "
        f"{Path(__file__).parents[1]}, or with --server.address localhost."
    )
    st.stop()
page = st.navigation(list(places().values()))
note_arrival(page.url_path)
with st.sidebar, caught():
    end_in_time()
    sidebar()
page.run()
pass_over_libraries(page.url_path)
