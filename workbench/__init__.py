"""What every page shares. With pages/, the only Streamlit in the project; never reaches torch or transformers."""
