# The folder tests read as CARAT_DATA: data/ as it stands, but for the tensors of data/golden, which
# are kept compressed and are unpacked here. Both follow data/ without a fresh configuration.
set(CARAT_DATA ${PROJECT_BINARY_DIR}/data)
set(carat_data_source ${PROJECT_SOURCE_DIR}/data)

# carat_link(file): the same path under CARAT_DATA, as a link.
function(carat_link file)
    file(RELATIVE_PATH path ${carat_data_source} ${file})
    file(CREATE_LINK ${file} ${CARAT_DATA}/${path} SYMBOLIC)
endfunction()

# carat_unpack(archive): its files into the folder it has under CARAT_DATA, when it is the newer.
function(carat_unpack archive)
    file(RELATIVE_PATH path ${carat_data_source} ${archive})
    cmake_path(GET path PARENT_PATH folder)
    set(stamp ${CARAT_DATA}/${folder}/.unpacked)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${archive})
    if(${archive} IS_NEWER_THAN ${stamp})
        file(ARCHIVE_EXTRACT INPUT ${archive} DESTINATION ${CARAT_DATA}/${folder})
        file(TOUCH ${stamp})
    endif()
endfunction()

file(GLOB entries CONFIGURE_DEPENDS LIST_DIRECTORIES true ${carat_data_source}/*)
list(REMOVE_ITEM entries ${carat_data_source}/golden)
file(GLOB_RECURSE golden CONFIGURE_DEPENDS ${carat_data_source}/golden/*)
file(MAKE_DIRECTORY ${CARAT_DATA})
foreach(file ${entries} ${golden})
    cmake_path(GET file FILENAME name)
    if(name STREQUAL tensors.tar.xz)
        carat_unpack(${file})
    else()
        cmake_path(GET file PARENT_PATH folder)
        file(RELATIVE_PATH folder ${carat_data_source} ${folder})
        file(MAKE_DIRECTORY ${CARAT_DATA}/${folder})
        carat_link(${file})
    endif()
endforeach()
