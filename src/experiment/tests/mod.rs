mod options;
